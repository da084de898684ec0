//! How fast is the product, in ratios that mean the same on any machine? It and the floor, a server
//! that does only what no server can avoid, are put under the same load in turn, and their speeds
//! compared.
//!
//! In reading order: [`floor`] is what we measure against, [`run`] where and how long, [`figures`] what is measured, and
//! `route` how two of them take turns; [`wrk`] and [`open_loop`] make the load, and [`signatures`] is what needs no server;
//! [`server`] and [`machine`] are the processes and what Linux says of them, [`report`] and `table` the results. [`revoke`] measures something else: how soon a token that was taken back is refused;
//! [`clients`] what a million clients cost, which [`many_clients`] makes; [`vault`] what a token out of the vault costs,
//! among the connections that [`many_connections`] makes; and [`replicas`] what several providers on one database, behind
//! one [`name`], know of each other and lose in a restart.

pub mod clients;
pub mod figures;
pub mod floor;
pub mod machine;
pub mod many_clients;
pub mod many_connections;
pub mod name;
pub mod open_loop;
pub mod replicas;
pub mod report;
pub mod revoke;
mod route;
pub mod run;
pub mod server;
pub mod signatures;
mod table;
pub mod vault;
pub mod wrk;
