//! Catalogs, managed connectors and composers as clients meet them.

mod catalogs;
mod documents;
mod managed;
mod support;
mod upstream;
