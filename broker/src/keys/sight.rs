//! What the holder of a key may see of what happens: what it could find out by asking.

use ganger_http::feed::{Names, Sight};
use ganger_transport::door::PublicKey;

use super::KeyRing;
use super::rights::{LOCAL, OPERATES, Principal, Proof, READS, Scope, TASKS};

impl KeyRing {
    /// What the holder of the token with this fingerprint may see.
    pub(crate) fn sight_of_token(&self, fingerprint: &[u8; 32]) -> Option<Sight> {
        self.principal(&PublicKey::from_bytes(*fingerprint), Proof::Token).as_ref().map(sight)
    }

    /// What somebody on this machine may see who shows nothing.
    pub(crate) fn sight_of_local(&self) -> Option<Sight> {
        self.principal(&LOCAL, Proof::Local).as_ref().map(sight)
    }
}

fn sight(principal: &Principal) -> Sight {
    let names = |may: bool, scope: &Scope| match (may, &scope.0) {
        (false, _) => Names::None,
        (true, None) => Names::All,
        (true, Some(prefixes)) => Names::Beginning(prefixes.clone()),
    };
    Sight {
        tasks: names(principal.may(TASKS), &principal.kinds),
        workers: principal.may(OPERATES),
        knowledge: names(principal.may(READS), &principal.topics),
    }
}

#[cfg(test)]
mod tests {
    use ganger_transport::door::SecretKey;

    use super::*;

    fn sight_of(line: &str) -> Option<Sight> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, line).unwrap();
        let secret = SecretKey::generate();
        KeyRing::load(secret, &path).unwrap().sight_of_local()
    }

    #[test]
    fn i20_whoever_may_not_ask_may_not_watch() {
        let some = |name: &str| Names::Beginning(vec![name.to_owned()]);
        let nothing = Sight { tasks: Names::None, workers: false, knowledge: Names::None };
        assert_eq!(sight_of(""), None);
        assert_eq!(sight_of("local knowledge-write"), Some(nothing.clone()));
        let submits = Sight { tasks: some("a."), ..nothing.clone() };
        assert_eq!(sight_of("local submit kinds=a."), Some(submits));
        let reads = Sight { knowledge: some("t"), ..nothing.clone() };
        assert_eq!(sight_of("local knowledge-read topics=t"), Some(reads));
        let operates = Sight { tasks: Names::All, workers: true, ..nothing };
        assert_eq!(sight_of("local admin"), Some(operates));
    }
}
