//! How a stream's frames come about.

/// How a stream's frames come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// They are encoded for viewers: a keyframe can be had whenever one is needed.
    Encoded,
    /// They are sent on as the source has encoded them, with this `profile-level-id`. Keyframes come by themselves, seconds apart.
    Copied([u8; 3]),
}

/// Marks a [`Form::Copied`] in one word.
const COPIED: u32 = 1 << 24;

impl Form {
    /// It in one word, which can be read while it is written.
    pub(crate) fn word(self) -> u32 {
        match self {
            Self::Encoded => 0,
            Self::Copied([profile, constraints, level]) => {
                COPIED | u32::from_be_bytes([0, profile, constraints, level])
            }
        }
    }

    /// What [`word`](Self::word) has given.
    pub(crate) fn of_word(word: u32) -> Self {
        let [_, id @ ..] = word.to_be_bytes();
        if word & COPIED == 0 {
            Self::Encoded
        } else {
            Self::Copied(id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_gives_the_form_again() {
        for form in [Form::Encoded, Form::Copied([0, 0, 0]), Form::Copied([0x64, 0x0c, 0x28])] {
            assert_eq!(Form::of_word(form.word()), form);
        }
    }
}
