//! The tokens that the simulator knows, and what each may. How one comes in a request is in
//! `fly/auth.rs`.

/// A token that the simulator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What stands in the `Authorization` header, without the scheme.
    pub secret: String,
    /// Whose it is; the owner of leases taken with it.
    pub name: String,
    /// Whether it may write.
    pub write: bool,
    /// The organisation it belongs to.
    pub organisation: String,
    /// The apps it is limited to; empty means all of the organisation.
    pub apps: Vec<String>,
}

impl Token {
    /// A token that may do everything in the simulated organisation.
    pub fn read_write(secret: &str, organisation: &str) -> Token {
        Token {
            secret: secret.into(),
            name: "operator@example.com".into(),
            write: true,
            organisation: organisation.into(),
            apps: Vec::new(),
        }
    }

    /// One that may read everything there.
    pub fn read_only(secret: &str, organisation: &str) -> Token {
        Token {
            name: "reader@example.com".into(),
            write: false,
            ..Token::read_write(secret, organisation)
        }
    }
}
