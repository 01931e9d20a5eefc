//! Asks one camera: its clock, its media service, its profiles, and the address of each.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use framebridge_config::{Address, Source};
use framebridge_daemon::unix_ms;
use framebridge_proto::plain;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use ring::rand::{SecureRandom as _, SystemRandom};
use roxmltree::Node;
use tokio::{
    net::TcpSocket,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Login, Picture,
    probe::{Answer as Found, is_of},
    soap::{self, Answer, Odd},
};
use crate::clock;

/// One answer: cameras have slow processors, and some look a password up for a second.
const PATIENCE: Duration = Duration::from_secs(4);

/// All addresses of one camera, of which there are up to [`MOST_PROFILES`]: those that came until then count.
const IN_ALL: Duration = Duration::from_secs(15);

/// The longest answer, bytes: that of a camera with 32 profiles, each in full, is some 200 KiB.
const LONGEST: usize = 512 * 1024;

/// Profiles that are asked for their address.
const MOST_PROFILES: usize = 8;

/// What is shown of a profile's name, characters.
const LONGEST_LABEL: usize = 40;

/// The camera's pictures, those that a browser plays first.
pub(super) async fn pictures(camera: &Found, login: Option<&Login>) -> anyhow::Result<Vec<Picture>> {
    let asked = ask(camera, login).await;
    asked.map_err(|error| {
        let is_refused = login.is_some() && matches!(error.downcast_ref(), Some(Odd::Login));
        if is_refused { Odd::WrongLogin.into() } else { error }
    })
}

async fn ask(camera: &Found, login: Option<&Login>) -> anyhow::Result<Vec<Picture>> {
    let asker = Asker {
        camera,
        login,
        ahead_ms: ahead(camera).await.unwrap_or(0),
    };
    let media = asker.media(&camera.service).await?;
    let profiles = asker.profiles(&media).await?;
    let (mut pictures, mut refused) = (Vec::new(), None);
    let until = Instant::now() + IN_ALL;
    for profile in profiles.into_iter().take(MOST_PROFILES) {
        let asked = timeout_at(until, asker.address(&media, &profile.token)).await;
        let Ok(address) = asked else {
            refused = Some(anyhow::anyhow!("it does not answer in time"));
            break;
        };
        match address {
            Ok(source) => pictures.push((
                profile.codec,
                Picture {
                    label: profile.label,
                    source,
                },
            )),
            Err(error) => refused = Some(error),
        }
    }
    if pictures.is_empty() {
        return Err(refused.unwrap_or_else(|| anyhow::anyhow!("it has no pictures")));
    }
    // What browsers play is sent on as it comes. The order is otherwise the camera's: its first is its best.
    pictures.sort_by_key(|(codec, _)| codec.as_deref() != Some("H264"));
    Ok(pictures.into_iter().map(|(_, picture)| picture).collect())
}

/// Milliseconds that a camera's clock is ahead of ours, which it tells everybody: it refuses what seems to be from another time.
async fn ahead(camera: &Found) -> Option<i64> {
    let body = "<GetSystemDateAndTime xmlns=\"http://www.onvif.org/ver10/device/wsdl\"/>";
    let answered = exchange(camera, &camera.service, soap::question(body, None))
        .await
        .ok()?;
    let answer = Answer::read(&answered).ok()?;
    let utc = answer.all("UTCDateTime").next()?;
    let number = |name: &str| soap::text(utc, name)?.parse::<u32>().ok();
    let moment = format!(
        "{}-{}-{} {}:{}:{}",
        number("Year")?,
        number("Month")?,
        number("Day")?,
        number("Hour")?,
        number("Minute")?,
        number("Second")?
    );
    let theirs = clock::moment(&moment, 0).ok()?;
    i64::try_from(theirs).ok()?.checked_sub(i64::try_from(unix_ms()).ok()?)
}

/// Who asks one camera.
#[derive(Debug)]
struct Asker<'a> {
    camera: &'a Found,
    login: Option<&'a Login>,
    ahead_ms: i64,
}

/// One of its profiles.
#[derive(Debug, PartialEq, Eq)]
struct Profile {
    token: String,
    codec: Option<String>,
    label: String,
}

impl Asker<'_> {
    /// Where its media service is: on the same host.
    async fn media(&self, device: &str) -> anyhow::Result<String> {
        let body = "<GetCapabilities xmlns=\"http://www.onvif.org/ver10/device/wsdl\"><Category>Media</Category></GetCapabilities>";
        let answered = self.ask(device, body).await?;
        let answer = Answer::read(&answered)?;
        let media = answer.all("Media").find_map(|media| soap::text(media, "XAddr"));
        let media = media.context("it names no media service")?;
        ensure!(
            is_of(media, self.camera.host),
            "its media service is not on itself, and is not asked"
        );
        Ok(media.to_owned())
    }

    async fn profiles(&self, media: &str) -> anyhow::Result<Vec<Profile>> {
        let answered = self
            .ask(media, "<GetProfiles xmlns=\"http://www.onvif.org/ver10/media/wsdl\"/>")
            .await?;
        let answer = Answer::read(&answered)?;
        Ok(answer.all("Profiles").filter_map(profile).collect())
    }

    /// The address of a profile, with the login in it.
    async fn address(&self, media: &str, token: &str) -> anyhow::Result<Source> {
        let body = format!(
            "<GetStreamUri xmlns=\"http://www.onvif.org/ver10/media/wsdl\"><StreamSetup>\
             <Stream xmlns=\"http://www.onvif.org/ver10/schema\">RTP-Unicast</Stream>\
             <Transport xmlns=\"http://www.onvif.org/ver10/schema\"><Protocol>RTSP</Protocol></Transport>\
             </StreamSetup><ProfileToken>{}</ProfileToken></GetStreamUri>",
            soap::escaped(token)
        );
        let answered = self.ask(media, &body).await?;
        let answer = Answer::read(&answered)?;
        let url = answer.text("Uri").context("it names no address")?;
        let of = Address::of(url).filter(|address| address.scheme == "rtsp" || address.scheme == "rtsps");
        let of = of.context("it names an address that is none of RTSP")?;
        // The login goes to whoever is named there.
        ensure!(
            of.host.parse() == Ok(self.camera.host),
            "its pictures are not on itself"
        );
        let url = self.login.map_or_else(|| url.to_owned(), |login| login.added_to(url));
        Ok(url.parse()?)
    }

    async fn ask(&self, service: &str, body: &str) -> anyhow::Result<String> {
        let Some(login) = self.login else {
            return exchange(self.camera, service, soap::question(body, None)).await;
        };
        let mut nonce = [0; 16];
        let filled = SystemRandom::new().fill(&mut nonce);
        filled.map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
        let now = unix_ms().saturating_add_signed(self.ahead_ms);
        let created = clock::utc(now).replace(' ', "T");
        let question = soap::question(body, Some((login, &created, nonce)));
        exchange(self.camera, service, question).await
    }
}

/// What an element says of a profile.
fn profile(node: Node<'_, '_>) -> Option<Profile> {
    let token = node.attribute("token").filter(|token| !token.is_empty())?.to_owned();
    let encoder = soap::first(node, "VideoEncoderConfiguration");
    let of_encoder = |name: &str| soap::text(encoder?, name);
    let codec = of_encoder("Encoding").map(str::to_owned);
    let edges = of_encoder("Width").zip(of_encoder("Height"));
    let size = edges.map(|(width, height)| format!("{width}x{height}"));
    let name = soap::text(node, "Name").unwrap_or(&token).to_owned();
    let parts = [Some(name), codec.clone(), size];
    let label = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Some(Profile {
        label: plain(&label, LONGEST_LABEL),
        token,
        codec,
    })
}

/// Posts a question to a service and gives back the answer: no redirect is followed, and nothing longer is read than an answer is.
async fn exchange(camera: &Found, service: &str, question: String) -> anyhow::Result<String> {
    timeout(PATIENCE, post(camera, service, question))
        .await
        .context("it does not answer in time")?
}

async fn post(camera: &Found, service: &str, question: String) -> anyhow::Result<String> {
    let address = Address::of(service).context("its service has no address")?;
    let socket = TcpSocket::new_v4()?;
    if let Some(interface) = &camera.interface {
        // Not by another network, where somebody else may have the address.
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let to = SocketAddr::from((camera.host, address.port.unwrap_or(80)));
    let stream = socket.connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = if address.path.is_empty() { "/" } else { address.path };
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, address.authority())
        .header(header::CONTENT_TYPE, "application/soap+xml; charset=utf-8")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(question)))?;
    let answering = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body
            .map_err(|_| anyhow::anyhow!("its answer is too long, or breaks off"))?
            .to_bytes();
        anyhow::Ok((status, body))
    };
    let driving = async {
        // Its end, too, is for the answer to tell of: with what has come it may be whole.
        _ = connection.await;
        std::future::pending().await
    };
    let (status, body) = tokio::select! {
        answered = answering => answered?,
        never = driving => never,
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    match status {
        StatusCode::OK => Ok(text),
        StatusCode::UNAUTHORIZED => Err(Odd::Login.into()),
        // A fault says more than its status.
        _ => match Answer::read(&text) {
            Err(odd @ (Odd::Fault(_) | Odd::Login | Odd::WrongLogin)) => Err(odd.into()),
            Ok(_) | Err(Odd::Xml(_) | Odd::TooLong) => bail!("it answers with {status}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the specification shows it, shortened.
    const PROFILES: &str = r#"<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema">
<SOAP-ENV:Body><trt:GetProfilesResponse>
<trt:Profiles token="profile_1" fixed="true"><tt:Name>main</tt:Name>
<tt:VideoSourceConfiguration token="v"><tt:Name>source</tt:Name><tt:Bounds x="0" y="0" width="1" height="1"/></tt:VideoSourceConfiguration>
<tt:VideoEncoderConfiguration token="e"><tt:Name>enc</tt:Name><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration></trt:Profiles>
<trt:Profiles token="p2"/><trt:Profiles token=""/><trt:Profiles/>
</trt:GetProfilesResponse></SOAP-ENV:Body></SOAP-ENV:Envelope>"#;

    #[test]
    fn profiles_are_read_as_far_as_they_say_something() {
        let answer = Answer::read(PROFILES).unwrap();
        let profiles: Vec<_> = answer.all("Profiles").filter_map(profile).collect();
        let profile = |token: &str, codec: Option<&str>, label: &str| Profile {
            token: token.to_owned(),
            codec: codec.map(str::to_owned),
            label: label.to_owned(),
        };
        assert_eq!(
            profiles,
            [
                profile("profile_1", Some("H264"), "main H264 1920x1080"),
                profile("p2", None, "p2")
            ]
        );
    }
}
