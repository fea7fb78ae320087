//! Tollgate, an API gateway.
