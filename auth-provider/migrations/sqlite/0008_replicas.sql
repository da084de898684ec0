-- PostgreSQL: what several servers on one database have to know of each other. This one belongs to a single server.
SELECT 1;
