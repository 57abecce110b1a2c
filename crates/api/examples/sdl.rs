//! Writes the served schema to `schema.graphql` in the root of the repository.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema.graphql");
    std::fs::write(path, ferrocti_api::sdl::build())?;
    println!("wrote {path}");
    Ok(())
}
