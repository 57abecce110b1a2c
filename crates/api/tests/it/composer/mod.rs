//! Catalogs, managed connectors and composers as clients meet them.

mod catalogs;
mod changes;
mod declared;
mod documents;
mod managed;
mod secrets;
mod support;
mod trust;
mod upstream;
