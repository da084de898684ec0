//! How fast is the product, in ratios that mean the same on any machine? It and the floor, a server
//! that does only what no server can avoid, are put under the same load in turn, and their speeds
//! compared.
//!
//! In reading order: [`floor`] is what we measure against, [`run`] what is measured and how,
//! [`wrk`] the load, [`server`] and [`machine`] the processes and what Linux says of them,
//! [`report`] the figures. [`revoke`] measures something else: how soon a token that was taken back is refused;
//! [`clients`] what a million clients cost, which [`many_clients`] makes; [`vault`] what a token out of the vault costs,
//! among the connections that [`many_connections`] makes; and [`replicas`] what several providers on one database, behind
//! one [`name`], know of each other and lose in a restart.

pub mod clients;
pub mod floor;
pub mod machine;
pub mod many_clients;
pub mod many_connections;
pub mod name;
pub mod replicas;
pub mod report;
pub mod revoke;
pub mod run;
pub mod server;
pub mod vault;
pub mod wrk;
