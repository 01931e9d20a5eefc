//! The session to a studio, as far as this build has one.

use framebridge_config::Studio;
use framebridge_proto::supervisor::BridgeProgress;

/// What the supervisor is told of the session.
pub(crate) fn progress(studio: Option<&Studio>) -> BridgeProgress {
    BridgeProgress {
        state: "disabled".to_owned(),
        reason: studio.map(|_| "a studio is configured, but this build has no session to one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use framebridge_config::Settings;

    use super::*;

    #[test]
    fn without_a_studio_the_session_is_disabled_and_that_is_no_fault() {
        let settings = Settings::load(None, &[]).unwrap();
        let expected = BridgeProgress {
            state: "disabled".to_owned(),
            reason: None,
        };
        assert_eq!(progress(settings.studio.as_ref()), expected);
    }
}
