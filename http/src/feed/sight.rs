//! What somebody may see of what happens.

/// What somebody may see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// Tasks, of kinds with these names.
    pub tasks: Names,
    /// Workers.
    pub workers: bool,
    /// Changes of knowledge, in topics with these names.
    pub knowledge: Names,
}

/// Some names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Names {
    /// None.
    None,
    /// All.
    All,
    /// Those that begin with one of these.
    Beginning(Vec<String>),
}

impl Sight {
    /// Everything.
    pub const ALL: Self = Self { tasks: Names::All, workers: true, knowledge: Names::All };
}

impl Names {
    pub(super) fn are_none(&self) -> bool {
        *self == Self::None
    }

    pub(super) fn cover(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Beginning(prefixes) => prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())),
        }
    }
}
