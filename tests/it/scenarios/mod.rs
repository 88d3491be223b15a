//! The operator as a process, under the chart's rights, against real servers: what people and their pipelines see, and
//! what the database really did, by an observer that has nothing to do with our code.

mod apply;
mod copied;
mod crash;
mod faults;
mod filling;
mod foresight;
mod kstatus;
mod locks;
mod requests;
mod residue;
mod restored;
mod rewound;
mod rights;
mod watch;
pub mod world;
