//! Which of a camera's modes is taken: the rate counts first, then the size that is nearest, then what costs least to decode.

/// How a camera sends its pictures. In the order in which they are taken where nothing else tells two modes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// As they are: nothing to decode, and much to carry.
    Raw,
    /// Each a JPEG.
    Mjpeg,
    /// H.264.
    H264,
}

/// One of a camera's modes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// How pictures come.
    pub format: Format,
    /// The format's name among V4L2's.
    pub fourcc: [u8; 4],
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Pictures a second.
    pub fps: f64,
}

/// What is asked for. What is named has to be so; the rest is as near as can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// Pictures a second.
    pub fps: f64,
    /// The picture's longest edge in pixels.
    pub longest_edge: u32,
    /// This size and no other.
    pub size: Option<(u32, u32)>,
    /// This format and no other.
    pub format: Option<Format>,
}

/// Rates are fractions: 29.97 is meant by 30.
const ALMOST: f64 = 0.97;

/// The mode that fits `wish` best; `None`: none does what it names.
pub fn choose(modes: &[Mode], wish: &Wish) -> Option<Mode> {
    let named = modes.iter().filter(|mode| {
        let has_size = wish.size.is_none_or(|size| size == mode.size);
        has_size && wish.format.is_none_or(|format| format == mode.format)
    });
    let named: Vec<&Mode> = named.collect();
    let fastest = named.iter().map(|mode| mode.fps).fold(0.0, f64::max);
    // What is faster than asked for is thinned out: it is fast enough, and no better.
    let enough = wish.fps.min(fastest) * ALMOST;
    let wanted = u64::from(wish.longest_edge);
    let distance = |mode: &Mode| {
        let edge = u64::from(mode.size.0.max(mode.size.1));
        // Of two as far away the larger: making it smaller loses less than making it larger.
        (edge.abs_diff(wanted), u8::from(edge < wanted))
    };
    let pixels = |mode: &Mode| u64::from(mode.size.0) * u64::from(mode.size.1);
    let fast = named.into_iter().filter(|mode| mode.fps >= enough);
    fast.min_by(|one, other| {
        let by_size = distance(one)
            .cmp(&distance(other))
            .then(pixels(other).cmp(&pixels(one)));
        by_size
            .then(one.format.cmp(&other.format))
            .then(one.fps.total_cmp(&other.fps))
    })
    .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(format: Format, size: (u32, u32), fps: f64) -> Mode {
        Mode {
            format,
            fourcc: *b"test",
            size,
            fps,
        }
    }

    /// A usual webcam: raw pictures are slow where they are large.
    fn webcam() -> Vec<Mode> {
        vec![
            mode(Format::Raw, (640, 480), 30.0),
            mode(Format::Raw, (1280, 720), 10.0),
            mode(Format::Raw, (1920, 1080), 5.0),
            mode(Format::Mjpeg, (640, 480), 30.0),
            mode(Format::Mjpeg, (1280, 720), 30.0),
            mode(Format::Mjpeg, (1280, 720), 60.0),
            mode(Format::Mjpeg, (1920, 1080), 29.97),
            mode(Format::H264, (1920, 1080), 30.0),
        ]
    }

    fn wish(fps: f64, longest_edge: u32) -> Wish {
        Wish {
            fps,
            longest_edge,
            size: None,
            format: None,
        }
    }

    #[test]
    fn rate_comes_before_size_and_size_before_what_is_cheap() {
        let taken = |fps, edge| {
            let mode = choose(&webcam(), &wish(fps, edge)).expect("there is one");
            (mode.format, mode.size, mode.fps)
        };
        assert_eq!(taken(30.0, 1280), (Format::Mjpeg, (1280, 720), 30.0));
        assert_eq!(taken(5.0, 1920), (Format::Raw, (1920, 1080), 5.0));
        assert_eq!(taken(30.0, 640), (Format::Raw, (640, 480), 30.0));
        assert_eq!(taken(30.0, 1920), (Format::Mjpeg, (1920, 1080), 29.97));
        assert_eq!(taken(60.0, 1920), (Format::Mjpeg, (1280, 720), 60.0));
        assert_eq!(taken(120.0, 640), (Format::Mjpeg, (1280, 720), 60.0), "none is as fast");
        assert_eq!(
            taken(30.0, 4096),
            (Format::Mjpeg, (1920, 1080), 29.97),
            "none is as large"
        );
    }

    #[test]
    fn what_is_named_is_taken_or_nothing() {
        let named = |size, format| {
            let wish = Wish {
                size,
                format,
                ..wish(30.0, 1280)
            };
            choose(&webcam(), &wish).map(|mode| (mode.format, mode.size, mode.fps))
        };
        let full = Some((1920, 1080));
        assert_eq!(named(full, Some(Format::Raw)), Some((Format::Raw, (1920, 1080), 5.0)));
        assert_eq!(
            named(None, Some(Format::H264)),
            Some((Format::H264, (1920, 1080), 30.0))
        );
        assert_eq!(named(Some((1, 1)), None), None);
        assert_eq!(named(Some((640, 480)), Some(Format::H264)), None);
        assert_eq!(choose(&[], &wish(30.0, 1280)), None);
    }
}
