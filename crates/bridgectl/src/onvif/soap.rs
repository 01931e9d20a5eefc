//! SOAP as far as ONVIF needs it: a question with who asks, and what an answer says. Elements are known by their names alone: cameras
//! differ in their namespaces.

use data_encoding::BASE64;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use roxmltree::{Document, Node, ParsingOptions};

use super::Login;

/// Elements and texts of an answer: a camera with 32 profiles, each in full, has some 8000.
const MOST_NODES: u32 = 20_000;

/// What is shown of a camera's words, bytes.
const LONGEST_REASON: usize = 200;

/// The longest tag, bytes, and the longest text between two. Attributes of one tag are compared with each other, so that a long one
/// would take minutes; cameras declare some forty namespaces in their first.
const LONGEST_TAG: usize = 8192;

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Odd {
    /// It is no XML, has a DTD, or too much in it.
    #[error("its answer can't be read: {0}")]
    Xml(#[from] roxmltree::Error),
    /// A tag of it, or a text, is longer than any that a camera has.
    #[error("its answer can't be read: a part of it is too long")]
    TooLong,
    /// The camera's own words.
    #[error("it refuses: {0}")]
    Fault(String),
    /// It wants to know who asks, or does not know him.
    #[error("it asks for a login: --login FILE names a file with user:password")]
    Login,
    /// It does not know the login that it was given.
    #[error("it does not take this user and password: are they those of a user of ONVIF there?")]
    WrongLogin,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer<'a>(Document<'a>);

impl<'a> Answer<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Odd> {
        if text.split('<').any(|part| part.len() > LONGEST_TAG) {
            return Err(Odd::TooLong);
        }
        let options = ParsingOptions {
            nodes_limit: MOST_NODES,
            ..ParsingOptions::default()
        };
        // Some begin with a mark or a blank line, before which there may be nothing.
        let document = Document::parse_with_options(text.trim_start_matches(['\u{feff}', ' ', '\r', '\n']), options)?;
        let answer = Self(document);
        match answer.fault() {
            None => Ok(answer),
            Some(fault) => Err(fault),
        }
    }

    fn fault(&self) -> Option<Odd> {
        let fault = first(self.0.root(), "Fault")?;
        // ONVIF names it in a subcode, and in words that nobody can know.
        let codes: Vec<&str> = all(fault, "Value").filter_map(|node| node.text()).collect();
        if codes
            .iter()
            .any(|code| code.ends_with("NotAuthorized") || code.ends_with("FailedAuthentication"))
        {
            return Some(Odd::Login);
        }
        let words = first(fault, "Text").or_else(|| first(fault, "faultstring"));
        let words = words.and_then(|node| node.text()).unwrap_or("it does not say why");
        Some(Odd::Fault(framebridge_proto::plain(words.trim(), LONGEST_REASON)))
    }

    /// The text of the first element of that name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        text(self.0.root(), name)
    }

    /// All elements of that name.
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = Node<'_, 'a>> {
        all(self.0.root(), name)
    }
}

/// All elements of that name in `node`.
fn all<'n, 'a>(node: Node<'n, 'a>, name: &'static str) -> impl Iterator<Item = Node<'n, 'a>> {
    node.descendants()
        .filter(move |node| node.is_element() && node.tag_name().name() == name)
}

/// The first element of that name in `node`.
pub(super) fn first<'n, 'a>(node: Node<'n, 'a>, name: &str) -> Option<Node<'n, 'a>> {
    node.descendants()
        .find(|node| node.is_element() && node.tag_name().name() == name)
}

/// The text of the first element of that name in `node`, without blanks around it.
pub(super) fn text<'n>(node: Node<'n, '_>, name: &str) -> Option<&'n str> {
    first(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}

/// A question, asked by somebody or by nobody. `created` is the time by the camera's clock, which it checks, in the form of XML; `nonce`
/// has never been used.
pub(super) fn question(body: &str, asks: Option<(&Login, &str, [u8; 16])>) -> String {
    let header = asks.map_or_else(String::new, |(login, created, nonce)| security(login, created, &nonce));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">{header}<s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// Who asks, by a digest of the password (WS-Security UsernameToken Profile 1.0): the password itself is never sent.
fn security(login: &Login, created: &str, nonce: &[u8]) -> String {
    const WSS: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss";
    format!(
        "<s:Header><wsse:Security s:mustUnderstand=\"true\" xmlns:wsse=\"{WSS}-wssecurity-secext-1.0.xsd\" \
         xmlns:wsu=\"{WSS}-wssecurity-utility-1.0.xsd\"><wsse:UsernameToken><wsse:Username>{}</wsse:Username>\
         <wsse:Password Type=\"{WSS}-username-token-profile-1.0#PasswordDigest\">{}</wsse:Password>\
         <wsse:Nonce EncodingType=\"{WSS}-soap-message-security-1.0#Base64Binary\">{}</wsse:Nonce>\
         <wsu:Created>{created}</wsu:Created></wsse:UsernameToken></wsse:Security></s:Header>",
        escaped(&login.user),
        digest(nonce, created, &login.password),
        BASE64.encode(nonce),
    )
}

/// `Base64(SHA-1(nonce + created + password))`
fn digest(nonce: &[u8], created: &str, password: &str) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in [nonce, created.as_bytes(), password.as_bytes()] {
        digest.update(part);
    }
    BASE64.encode(digest.finish().as_ref())
}

/// As it stands in a text of XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_the_programmers_guide() {
        // The example of ONVIF's Application Programmer's Guide, 6.1.1.3.
        let nonce = BASE64.decode(b"LKqI6G/AikKCQrN0zqZFlg==").unwrap();
        let digest = digest(&nonce, "2010-09-16T07:50:45Z", "userpassword");
        assert_eq!(digest, "tuOSpGlFlIXsozq4HFNeeGeFLEI=");
    }

    #[test]
    fn question_is_xml_whatever_the_user_is_called() {
        let login = Login {
            user: "a<b>&\"c".to_owned(),
            password: "<&>".to_owned(),
        };
        let asked = question("<GetProfiles/>", Some((&login, "2026-11-27T21:00:00Z", [7; 16])));
        let xml = Answer::read(&asked).unwrap();
        assert_eq!(xml.text("Username"), Some("a<b>&\"c"));
        assert!(!asked.contains("<&>"));
        assert!(
            Answer::read(&question("<x/>", None))
                .unwrap()
                .text("Username")
                .is_none()
        );
    }

    #[test]
    fn faults_are_the_cameras_words_or_a_question_for_the_login() {
        let fault = |code: &str| {
            format!(
                r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:ter="http://www.onvif.org/ver10/error"><s:Body><s:Fault>
<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{code}</s:Value></s:Subcode></s:Code>
<s:Reason><s:Text xml:lang="en">No such profile</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>"#
            )
        };
        assert!(matches!(Answer::read(&fault("ter:NotAuthorized")), Err(Odd::Login)));
        let said = Answer::read(&fault("ter:InvalidArgVal")).unwrap_err().to_string();
        assert_eq!(said, "it refuses: No such profile");
    }

    #[test]
    fn what_is_too_much_or_refers_elsewhere_is_no_answer() {
        let many = format!("<a>{}</a>", "<b/>".repeat(30_000));
        let deep = "<a>".repeat(100_000);
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        for text in [&*many, &deep, bomb, "", "no xml"] {
            assert!(matches!(Answer::read(text), Err(Odd::Xml(_))));
        }
        let attributes: String = (0..60_000).map(|number| format!("a{number}='>' ")).collect();
        assert!(matches!(Answer::read(&format!("<a {attributes}/>")), Err(Odd::TooLong)));
        assert_eq!(
            Answer::read("\u{feff}\r\n<a><b> x </b></a>").unwrap().text("b"),
            Some("x")
        );
    }
}
