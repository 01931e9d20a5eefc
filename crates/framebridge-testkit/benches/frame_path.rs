//! What happens to a picture on its way: made into a message for all subscribers, cut into packets, encrypted for a
//! viewer. `cargo bench -p framebridge-testkit`.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use framebridge_ipc::{Identity, Link, Listener, RuntimeDir, connect, encode};
use framebridge_proto::{
    Role,
    encoder::{FromEncoder, ToEncoder},
};
use framebridge_rtc::{
    hot_path::{PacketWriter, Packetised},
    srtp::Profile,
};
use framebridge_testkit::Pictures;
use tokio::runtime::{Builder, Runtime};

/// As a 720p stream: pictures of 9 packets.
const BITRATE: u64 = 2_500_000;
const FPS: u64 = 30;
/// Subscribers of the broadcast.
const SUBSCRIBERS: usize = 16;

fn pictures() -> Pictures {
    let mut pictures = Pictures::new(BITRATE, FPS);
    // The first one is a keyframe, and not what most are.
    pictures.next(true, 0);
    pictures
}

fn packets(criterion: &mut Criterion) {
    let picture = pictures().next(false, 0).payload;
    let packets = PacketWriter::new(Packetised::of(&picture), Profile::AeadAes128Gcm).packets();
    let mut group = criterion.benchmark_group("picture");
    group.throughput(Throughput::Elements(packets));
    group.bench_function("packetise", |bench| bench.iter(|| Packetised::of(&picture)));
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1] {
        let mut writer = PacketWriter::new(Packetised::of(&picture), profile);
        group.bench_function(format!("rewrite and encrypt, {profile:?}"), |bench| {
            bench.iter(|| writer.write().len());
        });
    }
    group.finish();
}

/// One end of every subscriber's link.
type Audience = Vec<Link<FromEncoder, ToEncoder>>;

/// A listener's end of links to as many subscribers, and theirs.
async fn links(dir: &RuntimeDir) -> anyhow::Result<(Vec<Link<ToEncoder, FromEncoder>>, Audience)> {
    let socket = dir.socket(Role::Encoder, Some(&"bench".parse()?));
    let listener = Listener::bind(&socket, &Identity::new(Role::Encoder)).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..SUBSCRIBERS {
        let identity = Identity::new(Role::Operator);
        let accept = async { anyhow::Ok(listener.accept().await?.handshake().await?) };
        let dial = async { anyhow::Ok(connect(&socket, &identity, Role::Encoder).await?) };
        let (our, their) = tokio::try_join!(accept, dial)?;
        ours.push(our);
        theirs.push(their);
    }
    Ok((ours, theirs))
}

/// Sends `pictures` to everybody, made into a message once each, and waits for all of them at all ends.
async fn broadcast(
    rounds: u64,
    senders: &mut [Link<ToEncoder, FromEncoder>],
    receivers: &mut Audience,
) -> anyhow::Result<Duration> {
    let mut pictures = pictures();
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        let message = FromEncoder::Frame(pictures.next(false, 0));
        let start = Instant::now();
        let message = encode(&message)?;
        for link in senders.iter_mut() {
            link.sender.send_encoded(&message).await?;
        }
        for link in receivers.iter_mut() {
            anyhow::ensure!(link.receiver.recv().await?.is_some(), "a link was closed");
        }
        total += start.elapsed();
    }
    Ok(total)
}

fn ipc(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the sockets");
    let dir = RuntimeDir::at(folder.path().join("run"));
    dir.create().expect("a folder of our own");
    let tokio: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut senders, mut receivers) = tokio.block_on(links(&dir)).expect("links within a process");
    criterion.bench_function("broadcast a picture to 16 subscribers over IPC", |bench| {
        bench.iter_custom(|rounds| {
            tokio
                .block_on(broadcast(rounds, &mut senders, &mut receivers))
                .expect("both ends are ours")
        });
    });
}

criterion_group!(benches, packets, ipc);
criterion_main!(benches);
