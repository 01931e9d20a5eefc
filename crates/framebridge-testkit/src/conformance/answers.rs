//! Reading an answer, as far as statements are about it.

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) media: String,
    pub(super) port: String,
    pub(super) formats: Vec<String>,
    lines: Vec<String>,
}

/// A session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    session: Vec<String>,
    pub(super) sections: Vec<Section>,
}

impl Description {
    pub(super) fn parse(text: &str) -> Self {
        let mut description = Self {
            session: Vec::new(),
            sections: Vec::new(),
        };
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if let Some(media) = line.strip_prefix("m=") {
                let mut words = media.split(' ').map(str::to_owned);
                description.sections.push(Section {
                    media: words.next().unwrap_or_default(),
                    port: words.next().unwrap_or_default(),
                    formats: words.skip(1).collect(),
                    lines: Vec::new(),
                });
            } else if let Some(section) = description.sections.last_mut() {
                section.lines.push(line.to_owned());
            } else {
                description.session.push(line.to_owned());
            }
        }
        description
    }

    /// The first value of an attribute, wherever it stands.
    pub(super) fn anywhere(&self, name: &str) -> Option<&str> {
        value(&self.session, name).or_else(|| self.sections.iter().find_map(|section| section.value(name)))
    }

    /// The mids of the BUNDLE group.
    pub(super) fn bundle(&self) -> Vec<&str> {
        let group = value(&self.session, "group").and_then(|group| group.strip_prefix("BUNDLE"));
        group.unwrap_or_default().split_whitespace().collect()
    }

    /// Sections that are not refused.
    pub(super) fn accepted(&self) -> impl Iterator<Item = &Section> {
        let is_bundled = |section: &Section| section.value("mid").is_some_and(|mid| self.bundle().contains(&mid));
        self.sections
            .iter()
            .filter(move |section| section.port != "0" || is_bundled(section))
    }

    /// Sections that something is sent in.
    pub(super) fn sent(&self) -> impl Iterator<Item = &Section> {
        self.accepted().filter(|section| !section.has("inactive"))
    }
}

impl Section {
    /// The first value of an attribute.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        value(&self.lines, name)
    }

    /// All values of an attribute.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.lines, name)
    }

    /// Whether it has an attribute without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(name))
    }
}

fn value<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = lines
        .iter()
        .filter_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
    found.next().map(str::trim)
}

fn values<'a>(lines: &'a [String], name: &'a str) -> impl Iterator<Item = &'a str> {
    let found = lines
        .iter()
        .filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
    found.map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_are_bundled_or_have_a_port_are_accepted() {
        let text = "v=0\r\na=group:BUNDLE 1 2\r\na=setup:passive\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                    m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendonly\r\n\
                    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:2\r\na=inactive\r\n";
        let answer = Description::parse(text);
        let mids = |section: &Section| section.value("mid").unwrap_or_default().to_owned();
        assert_eq!(answer.accepted().map(mids).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(answer.sent().map(mids).collect::<Vec<_>>(), ["1"]);
        assert_eq!(answer.sections[1].formats, ["96", "97"]);
        assert_eq!(answer.anywhere("setup"), Some("passive"));
        assert_eq!(answer.anywhere("group"), Some("BUNDLE 1 2"));
    }
}
