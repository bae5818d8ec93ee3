//! Behaviour tests: everything here is seen through the built binary, real git and real files.

#[cfg(test)]
mod left;
