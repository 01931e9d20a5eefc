//! The statements, by the draft's sections (draft-ietf-wish-whep-02).

use std::time::{Duration, Instant};

use super::{
    answers::{Description, Section},
    report::{Outcome, Report, Weight},
    session::{FRAGMENT, Joined, SDP, Server},
};
use crate::{Seat, watch, whep::Response};

/// How long media may take to come: the source may have to be opened, and a keyframe waited for.
const MEDIA: Duration = Duration::from_secs(15);
/// Once a session has ended, what is under way has come within this; and so long nothing more may come.
const SILENCE: Duration = Duration::from_secs(1);

/// A candidate that nobody minds: an address for documentation.
const UDP: &str = "1 1 udp 2122260223 192.0.2.1 61764 typ host";
const TCP: &str = "2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active";
const NAME: &str = "3 1 udp 2122194687 f2d0cbf5-0000-4000-8000-b1f4c1e6b2a3.local 61765 typ host";

pub(super) fn is_success(response: &Response) -> bool {
    (200..300).contains(&response.status)
}

pub(super) fn is_refusal(response: &Response) -> bool {
    (400..500).contains(&response.status)
}

pub(super) fn status(response: &Response) -> String {
    format!("answered {}", response.status)
}

pub(super) fn media_type(response: &Response) -> &str {
    let kind = response.header("content-type").unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

/// What can be asked of the endpoint without a session.
pub(super) fn endpoint(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let got = server.ask("GET", server.url(), &[], "")?;
    report.must(
        "4.1",
        "GET on the endpoint is answered 2xx without content",
        Outcome::of(
            is_success(&got) && got.body.is_empty(),
            format!("{}, {} bytes", status(&got), got.body.len()),
        ),
    );
    let preflight = [
        ("Origin", "https://player.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let asked = server.ask("OPTIONS", server.url(), &preflight, "")?;
    report.must(
        "4.3",
        "OPTIONS on the endpoint is supported, for CORS",
        Outcome::of(is_success(&asked), status(&asked)),
    );
    let accepts = asked.header("accept-post").unwrap_or_default();
    report.note(
        "4.3",
        Weight::Should,
        "OPTIONS is answered with Accept-Post: application/sdp",
        Outcome::of(accepts.contains(SDP), format!("Accept-Post: {accepts:?}")),
    );
    Ok(())
}

/// What the endpoint may not take.
pub(super) fn refusals(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let offer = server.session().map(|joined| {
        _ = server.leave(&joined);
        joined.offer
    })?;
    for (statement, headers, body) in [
        (
            "POST of another content type is answered 4xx",
            &[("Content-Type", "application/json")][..],
            offer.as_str(),
        ),
        ("POST of no content type is answered 4xx", &[], &offer),
        (
            "POST of a malformed offer is answered 4xx",
            &[("Content-Type", SDP)],
            "this is no SDP",
        ),
        ("POST without an offer is answered 4xx", &[("Content-Type", SDP)], ""),
    ] {
        let answered = server.ask("POST", server.url(), headers, body)?;
        report.must("4.2", statement, Outcome::of(is_refusal(&answered), status(&answered)));
        if answered.status == 201
            && let Some(location) = answered.header("location")
        {
            let session = crate::whep::resolve(server.url(), location)?;
            server.ask("DELETE", &session, &[], "")?;
        }
    }
    Ok(())
}

/// What an answer says, to an offer of one video section.
pub(super) fn answer(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let joined = server.session()?;
    let response = &joined.response;
    report.must("4.2", "POST of an offer is answered 201", Outcome::Pass);
    report.must(
        "4.2",
        "the answer's content type is application/sdp",
        Outcome::of(media_type(response).eq_ignore_ascii_case(SDP), media_type(response)),
    );
    let got = server.ask("GET", &joined.session, &[], "")?;
    report.must(
        "4.2",
        "Location points to the new session",
        Outcome::of(joined.session.contains("://"), joined.session.clone()),
    );
    report.must(
        "4.1",
        "GET on the session is answered 2xx without content",
        Outcome::of(
            is_success(&got) && got.body.is_empty(),
            format!("{}, {} bytes", status(&got), got.body.len()),
        ),
    );
    negotiation(&joined, report);
    transport(&joined, report);
    let is_moved = joined.redirects.iter().any(|status| matches!(status, 301 | 302));
    report.must(
        "4.6",
        "POST is not redirected by 301 or 302",
        Outcome::of(!is_moved, format!("redirected by {:?}", joined.redirects)),
    );
    links(&joined, report);
    server.leave(&joined)?;
    Ok(())
}

/// How the answer's sections answer the offer's.
fn negotiation(joined: &Joined, report: &mut Report) {
    let (offer, answer) = (Description::parse(&joined.offer), &joined.answer);
    let media = |description: &Description| {
        let media = description.sections.iter().map(|section| section.media.clone());
        media.collect::<Vec<_>>()
    };
    report.must(
        "4.2",
        "the answer has the offer's sections, in its order (RFC 3264 section 6)",
        Outcome::of(
            media(&offer) == media(answer),
            format!("{:?} for {:?}", media(answer), media(&offer)),
        ),
    );
    let mids = |description: &Description| {
        let mids = description
            .sections
            .iter()
            .map(|section| section.value("mid").map(str::to_owned));
        mids.collect::<Vec<_>>()
    };
    report.must(
        "4.2",
        "the answer's sections have the offer's mids (RFC 9429 section 5.3.1)",
        Outcome::of(
            mids(&offer) == mids(answer),
            format!("{:?} for {:?}", mids(answer), mids(&offer)),
        ),
    );
    let foreign = answer.sent().flat_map(|section| &section.formats);
    let offered: Vec<&String> = offer.sections.iter().flat_map(|section| &section.formats).collect();
    let foreign: Vec<&String> = foreign.filter(|format| !offered.contains(format)).collect();
    report.must(
        "4.2",
        "the answer has no payload type that was not offered (RFC 9429 section 5.3.1)",
        Outcome::of(foreign.is_empty(), format!("{foreign:?}")),
    );
    report.must(
        "4.2",
        "sections that are sent in are sendonly",
        every(answer.sent(), |section| section.has("sendonly")),
    );
    let setup = answer.anywhere("setup").unwrap_or_default();
    report.must(
        "4.2",
        "the answer settles who begins DTLS (RFC 8842 section 5.3)",
        Outcome::of(matches!(setup, "active" | "passive"), format!("a=setup:{setup}")),
    );
    let streams: Vec<&str> = answer
        .sent()
        .filter_map(|section| section.value("msid")?.split(' ').next())
        .collect();
    report.must(
        "4.5.2",
        "each section has an msid, all of one MediaStream",
        Outcome::of(
            streams.len() == answer.sent().count() && streams.windows(2).all(|two| two[0] == two[1]),
            format!("{streams:?} in {} sections", answer.sent().count()),
        ),
    );
    let videos = answer.sent().filter(|section| section.media == "video").count();
    report.must(
        "4.5.2",
        "no two tracks are of the same kind",
        Outcome::of(videos <= 1, format!("{videos} video sections")),
    );
}

/// What the answer says of the way.
fn transport(joined: &Joined, report: &mut Report) {
    let answer = &joined.answer;
    let lacking = ["ice-ufrag", "ice-pwd", "fingerprint"];
    let lacking: Vec<&str> = lacking
        .into_iter()
        .filter(|name| answer.anywhere(name).is_none())
        .collect();
    report.must(
        "4.2",
        "the answer has ICE credentials and a fingerprint (RFC 9429 section 5.3.1)",
        Outcome::of(lacking.is_empty(), format!("no {lacking:?}")),
    );
    let candidates = answer
        .sections
        .iter()
        .flat_map(|section| section.values("candidate"))
        .count();
    report.must(
        "4.4.2",
        "the answer has the server's candidates",
        Outcome::of(candidates > 0, "none"),
    );
    report.must(
        "4.5.1",
        "the answer bundles what was offered bundled",
        Outcome::of(answer.bundle() == ["0"], format!("BUNDLE {:?}", answer.bundle())),
    );
    bundled(answer, report);
}

/// What each bundled section has to say.
fn bundled(answer: &Description, report: &mut Report) {
    report.must(
        "4.5.1",
        "bundled sections multiplex RTP and RTCP (a=rtcp-mux)",
        every(answer.accepted(), |section| {
            section.has("rtcp-mux") || section.has("rtcp-mux-only")
        }),
    );
    report.must(
        "4.5.1",
        "bundled sections say so with a=rtcp-mux-only",
        every(answer.accepted(), |section| section.has("rtcp-mux-only")),
    );
}

fn every<'a>(sections: impl Iterator<Item = &'a Section>, holds: impl Fn(&Section) -> bool) -> Outcome {
    let name = |section: &Section| format!("m={} mid {}", section.media, section.value("mid").unwrap_or("none"));
    let others: Vec<String> = sections.filter(|section| !holds(section)).map(name).collect();
    Outcome::of(others.is_empty(), format!("not in {}", others.join(", ")))
}

fn links(joined: &Joined, report: &mut Report) {
    let links: Vec<&str> = joined.response.headers("link").collect();
    let servers: Vec<&&str> = links.iter().filter(|link| link.contains("ice-server")).collect();
    let is_right = |link: &str| {
        ["<stun:", "<turn:", "<stuns:", "<turns:"]
            .iter()
            .any(|start| link.starts_with(start))
    };
    let outcome = if servers.is_empty() {
        Outcome::NotApplicable("it names no STUN or TURN server".into())
    } else {
        Outcome::of(servers.iter().all(|link| is_right(link)), format!("{servers:?}"))
    };
    report.must(
        "4.7",
        "STUN and TURN servers are Link headers with rel=ice-server",
        outcome,
    );
    let extensions: Vec<&&str> = links
        .iter()
        .filter(|link| link.contains("urn:ietf:params:whep:ext"))
        .collect();
    let outcome = if extensions.is_empty() {
        Outcome::NotApplicable("it announces none".into())
    } else {
        Outcome::of(
            extensions.iter().all(|link| link.starts_with('<')),
            format!("{extensions:?}"),
        )
    };
    report.must("4.9", "extensions are announced by one Link header each", outcome);
}

/// What is answered to audio and video under max-bundle, audio first, as a browser offers them.
pub(super) fn bundled_answer(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let with_audio = |offer: &str| {
        let (session, video) = offer.split_once("m=video").unwrap_or((offer, ""));
        let session = session.replace("BUNDLE 0", "BUNDLE 1 0");
        let transport: String = video
            .lines()
            .filter(|line| {
                ["a=ice-", "a=fingerprint", "a=setup", "a=rtcp-mux", "a=recvonly"]
                    .iter()
                    .any(|it| line.starts_with(it))
            })
            .flat_map(|line| [line, "\r\n"])
            .collect();
        format!(
            "{session}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n{transport}\
             a=rtpmap:111 opus/48000/2\r\nm=video{video}"
        )
    };
    let joined = server.join(with_audio)?;
    let answer = &joined.answer;
    let statement = "audio and video under max-bundle are answered section by section";
    let is_answered = joined.response.status == 201 && answer.sections.len() == 2;
    let seen = format!("{}, {} sections", status(&joined.response), answer.sections.len());
    report.must("4.5.1", statement, Outcome::of(is_answered, seen));
    if is_answered {
        let names: Vec<&str> = answer.accepted().filter_map(|section| section.value("mid")).collect();
        let group = answer.bundle();
        report.must(
            "4.5.1",
            "the answer's BUNDLE group has the accepted sections (RFC 9143 section 7.3)",
            Outcome::of(
                group.len() == names.len() && names.iter().all(|name| group.contains(name)),
                format!("BUNDLE {group:?}, accepted {names:?}"),
            ),
        );
        bundled(answer, report);
        server.leave(&joined)?;
    }
    Ok(())
}

/// Whether the server takes PATCHes of a kind at all: 405, 422 and 501 say that it does not.
fn is_supported(response: &Response) -> bool {
    !matches!(response.status, 404 | 405 | 422 | 501)
}

/// Trickle ICE.
pub(super) fn trickle(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let joined = server.session()?;
    let tag = joined.tag().map(str::to_owned);
    let body = joined.candidates(&[UDP, TCP, NAME]);
    let patched = server.patch(&joined, tag.as_deref(), &body)?;
    if !is_supported(&patched) {
        let outcome = Outcome::NotApplicable(format!("no Trickle ICE: {}", status(&patched)));
        report.note("4.4", Weight::Should, "Trickle ICE is supported", outcome);
        server.leave(&joined)?;
        return Ok(());
    }
    report.must(
        "4.4.2",
        "PATCH with candidates is answered 204 without content, whatever their transport and names",
        Outcome::of(patched.status == 204 && patched.body.is_empty(), status(&patched)),
    );
    report.must(
        "4.4.2",
        "that answer has no ETag",
        Outcome::of(
            patched.header("etag").is_none(),
            format!("ETag: {:?}", patched.header("etag")),
        ),
    );
    let odd = server.ask("PATCH", &joined.session, &[("Content-Type", "application/json")], &body)?;
    report.must(
        "4.4.1",
        "PATCH of another content type is answered 4xx",
        Outcome::of(is_refusal(&odd), status(&odd)),
    );
    let odd = server.patch(&joined, tag.as_deref(), "this is no fragment")?;
    report.must(
        "4.4.1",
        "PATCH of a malformed fragment is answered 4xx",
        Outcome::of(is_refusal(&odd), status(&odd)),
    );
    let untagged = server.patch(&joined, None, &body)?;
    let outcome = match untagged.status {
        428 => Outcome::Pass,
        204 => Outcome::Lenient("taken, as its credentials name the generation".into()),
        _ => Outcome::Fail(status(&untagged)),
    };
    report.must(
        "4.4.1",
        "PATCH with candidates and without If-Match is answered 428",
        outcome,
    );
    server.leave(&joined)?;
    Ok(())
}

/// ICE restarts.
pub(super) fn restart(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let joined = server.session()?;
    let password = "p".repeat(24);
    let body = joined.fragment("fresh", &password, &[UDP]);
    // Of a generation of its own: where it is taken all the same, the next is another.
    let untagged = server.patch(&joined, None, &joined.fragment("early", &password, &[UDP]))?;
    let restarted = server.patch(&joined, Some("*"), &body)?;
    if !is_supported(&restarted) {
        let outcome = Outcome::NotApplicable(format!("no ICE restarts: {}", status(&restarted)));
        report.note("4.4", Weight::Should, "ICE restarts are supported", outcome);
        server.leave(&joined)?;
        return Ok(());
    }
    let tag = joined.tag().unwrap_or_default().to_owned();
    let is_strong = tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
    report.must(
        "4.4.1",
        "201 has a strong entity tag of the ICE session",
        Outcome::of(is_strong, format!("ETag: {tag:?}")),
    );
    report.must(
        "4.4.1",
        "a restart without If-Match is answered 428",
        Outcome::of(untagged.status == 428, status(&untagged)),
    );
    report.must(
        "4.4.3",
        "a restart is answered 200 with a fragment",
        Outcome::of(
            restarted.status == 200 && media_type(&restarted).eq_ignore_ascii_case(FRAGMENT),
            format!("{}, {}", status(&restarted), media_type(&restarted)),
        ),
    );
    let fragment = Description::parse(&restarted.body);
    let renews = |name: &str| {
        fragment
            .anywhere(name)
            .is_some_and(|new| joined.answer.anywhere(name) != Some(new))
    };
    report.must(
        "4.4.3",
        "the fragment has new ICE credentials",
        Outcome::of(renews("ice-ufrag") && renews("ice-pwd"), restarted.body.clone()),
    );
    let options = [&fragment, &joined.answer].map(|from| from.anywhere("ice-options"));
    report.must(
        "4.4.3",
        "the fragment has the answer's ice-options",
        Outcome::of(options[0] == options[1], format!("{options:?}")),
    );
    let renewed = restarted.header("etag").unwrap_or_default();
    report.must(
        "4.4.3",
        "that answer has a new entity tag",
        Outcome::of(
            !renewed.is_empty() && renewed != tag,
            format!("ETag: {renewed:?} after {tag:?}"),
        ),
    );
    let outdated = server.patch(&joined, Some(&tag), &joined.fragment("fresh", &password, &[UDP]))?;
    report.must(
        "4.4.1",
        "PATCH with an outdated entity tag is answered 412",
        Outcome::of(outdated.status == 412, status(&outdated)),
    );
    let failed = server.patch(&joined, Some("*"), "a=ice-ufrag:x\r\na=ice-pwd:y\r\n")?;
    let still = server.leave(&joined)?;
    report.must(
        "4.4.3",
        "a restart that fails is an error, and the session stays",
        Outcome::of(
            failed.status >= 400 && is_success(&still),
            format!("{}, then DELETE {}", status(&failed), status(&still)),
        ),
    );
    Ok(())
}

/// DELETE.
pub(super) fn end(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let joined = server.session()?;
    let ended = server.leave(&joined)?;
    report.must(
        "4.3",
        "DELETE on the session is answered 200",
        Outcome::of(ended.status == 200, status(&ended)),
    );
    let again = server.leave(&joined)?;
    report.must(
        "4.3",
        "DELETE removes the session",
        Outcome::of(is_refusal(&again), format!("a second DELETE is {}", status(&again))),
    );
    let joined = server.session()?;
    let ended = server.ask("DELETE", &joined.session, &[("If-Match", "\"of-no-session\"")], "")?;
    report.must(
        "4.4.1",
        "DELETE ignores entity tags",
        Outcome::of(is_success(&ended), status(&ended)),
    );
    Ok(())
}

/// Media, over ICE and DTLS, and its end.
pub(super) fn media(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let statement = "media is sent, protected with keys from DTLS";
    let mut joined = server.session()?;
    if joined.answer.anywhere("setup") == Some("active") {
        // Our viewer begins DTLS itself: it has to say so.
        server.leave(&joined)?;
        joined = server.join(|offer| offer.replace("a=setup:actpass", "a=setup:active"))?;
    }
    let address = joined
        .answer
        .sections
        .iter()
        .flat_map(|section| section.values("candidate"));
    let is_ipv4 = address
        .filter_map(|candidate| candidate.split(' ').nth(4))
        .any(|ip| ip.contains('.'));
    let Joined {
        mut viewer,
        response,
        session,
        ..
    } = joined;
    if let Err(error) = viewer.accept(&response.body, is_ipv4, Instant::now()) {
        report.must("3", statement, Outcome::Fail(error.to_string()));
        return Ok(());
    }
    let mut seats = [Seat::new(viewer, is_ipv4)?];
    let watched = |seats: &mut [Seat], for_so_long: Duration, is_done: fn(&Seat) -> bool| {
        let until = Instant::now() + for_so_long;
        watch(seats, |seats| is_done(&seats[0]) || Instant::now() > until)
    };
    watched(&mut seats, MEDIA, |seat| seat.viewer.reception().frames >= 10)?;
    let (frames, is_connected) = (seats[0].viewer.reception().frames, seats[0].viewer.is_connected());
    let seen = format!("connected: {is_connected}, {frames} frames in {} s", MEDIA.as_secs());
    report.must("3", statement, Outcome::of(frames >= 10, seen));
    let ended = server.ask("DELETE", &session, &[], "")?;
    watched(&mut seats, SILENCE, |seat| seat.viewer.is_closed())?;
    let before = seats[0].viewer.reception().packets;
    watched(&mut seats, SILENCE, |_| false)?;
    let more = seats[0].viewer.reception().packets - before;
    let outcome = if frames == 0 {
        Outcome::NotApplicable("there was none".into())
    } else {
        Outcome::of(
            more == 0,
            format!("{more} packets within a second, DELETE {}", status(&ended)),
        )
    };
    report.must("4.3", "DELETE ends the media (RFC 7675 section 5.2)", outcome);
    Ok(())
}

/// Bearer tokens.
pub(super) fn authorization(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let statement = "a request without a token is answered 401 with WWW-Authenticate (RFC 9110 section 11.6.1)";
    if !server.has_token() {
        report.must("4.8", statement, Outcome::NotApplicable("no --token".into()));
        return Ok(());
    }
    let stranger = server.ask_without_token("POST", "Content-Type: application/sdp\r\n", "v=0\r\n")?;
    let challenge = stranger.header("www-authenticate").unwrap_or_default();
    report.must(
        "4.8",
        statement,
        Outcome::of(
            stranger.status == 401 && !challenge.is_empty(),
            format!("{}, {challenge:?}", status(&stranger)),
        ),
    );
    let preflight = server.ask_without_token("OPTIONS", "Origin: https://player.example\r\n", "")?;
    report.must(
        "4.8.1",
        "a preflight needs no token",
        Outcome::of(is_success(&preflight), status(&preflight)),
    );
    Ok(())
}
