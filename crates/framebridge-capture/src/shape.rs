//! The shape that a picture is meant to be seen in: square pixels, upright, without the combs of two fields.

use std::collections::VecDeque;

use ffmpeg_next::{
    Error, Rational,
    error::EAGAIN,
    filter::{self, Graph},
    format::Pixel,
    frame,
    util::frame::side_data::Type,
};

use crate::ffi;

/// Pixels more oblong than this are a mistake in the source: taken for square.
const MOST_OBLONG: i32 = 10;

/// Whole pictures in a row after which an interlaced source is taken for a progressive one again, some ten seconds: the
/// filter holds a picture back, which is not worth it any more.
const PROGRESSIVE_AGAIN: u32 = 300;

/// The size in square pixels of a picture of `size` whose pixels have this width to height: as high as it is, as wide as
/// it is to be seen, to the nearest even number as 4:2:0 needs.
pub(crate) fn square(size: (u32, u32), aspect: Rational) -> (u32, u32) {
    let Rational(wide, high) = aspect;
    if wide <= 0 || high <= 0 || wide == high || wide / high >= MOST_OBLONG || high / wide >= MOST_OBLONG {
        return size;
    }
    let (wide, high) = (u64::from(wide.unsigned_abs()), u64::from(high.unsigned_abs()));
    let pairs = (u64::from(size.0) * wide + high) / (2 * high);
    (u32::try_from(pairs * 2).unwrap_or(size.0).max(2), size.1)
}

/// How a picture has to be turned to be upright.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orientation {
    /// Mirrored along the diagonal first: columns become rows.
    transposed: bool,
    /// Then left and right change places,
    mirrored: bool,
    /// and top and bottom.
    upside_down: bool,
}

impl Orientation {
    /// From a display matrix: nine 32-bit numbers in this machine's order, of which the first, second, fourth and fifth
    /// say where right and down go. What is turned by no whole quarter is taken for the nearest one.
    pub(crate) fn of(matrix: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = matrix.get(at * 4..at * 4 + 4)?;
            Some(i64::from(i32::from_ne_bytes(bytes.try_into().ok()?)))
        };
        let (a, b, c, d) = (number(0)?, number(1)?, number(3)?, number(4)?);
        let transposed = b.abs() + c.abs() > a.abs() + d.abs();
        let (across, down) = if transposed { (c, b) } else { (a, d) };
        Some(Self {
            transposed,
            mirrored: across < 0,
            upside_down: down < 0,
        })
    }

    fn filters(self) -> Vec<&'static str> {
        let turn = match (self.transposed, self.mirrored, self.upside_down) {
            (true, false, false) => "transpose=dir=cclock_flip",
            (true, true, false) => "transpose=dir=clock",
            (true, false, true) => "transpose=dir=cclock",
            (true, true, true) => "transpose=dir=clock_flip",
            (false, mirrored, upside_down) => {
                let flips = [(mirrored, "hflip"), (upside_down, "vflip")];
                return flips
                    .into_iter()
                    .filter_map(|(does, flip)| does.then_some(flip))
                    .collect();
            }
        };
        vec![turn]
    }
}

/// A picture in shape and its timestamp, in the source's clock.
pub(crate) type Shaped = (frame::Video, Option<i64>);

/// Brings decoded pictures into shape. Those that are so already pass as they are.
pub(crate) struct Shaper {
    /// The container's word, for pictures that say nothing.
    orientation: Orientation,
    filters: Option<Filters>,
    /// Whole pictures since the last of two fields; `None` before that.
    since_fields: Option<u32>,
}

/// What a filter graph was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    format: Pixel,
    size: (u32, u32),
    aspect: Rational,
    deinterlaced: bool,
    orientation: Orientation,
}

struct Filters {
    kind: Kind,
    graph: Graph,
    /// Timestamps of the pictures inside; they leave in the order in which they came.
    inside: VecDeque<Option<i64>>,
    count: i64,
}

impl Shaper {
    /// For a source whose container turns its pictures like this.
    pub(crate) fn new(orientation: Orientation) -> Self {
        Self {
            orientation,
            filters: None,
            since_fields: None,
        }
    }

    /// What was held back, at the end of the source.
    pub(crate) fn finish(&mut self) -> Result<Option<Shaped>, Error> {
        self.filters.take().map_or(Ok(None), Filters::finish)
    }

    /// `frame` in shape, with its timestamp. `None`: it has to be seen beside the next one first.
    pub(crate) fn shape(&mut self, frame: frame::Video) -> Result<Option<Shaped>, Error> {
        self.since_fields = match self.since_fields {
            _ if frame.is_interlaced() => Some(0),
            Some(whole) if whole < PROGRESSIVE_AGAIN => Some(whole + 1),
            Some(_) | None => None,
        };
        let orientation = frame
            .side_data(Type::DisplayMatrix)
            .and_then(|found| Orientation::of(found.data()))
            .unwrap_or(self.orientation);
        let kind = Kind {
            format: frame.format(),
            size: (frame.width(), frame.height()),
            aspect: frame.aspect_ratio(),
            deinterlaced: self.since_fields.is_some(),
            orientation,
        };
        if !kind.deinterlaced && orientation == Orientation::default() {
            self.filters = None;
            let timestamp = timestamp(&frame);
            return Ok(Some((frame, timestamp)));
        }
        let filters = match self.filters.take() {
            Some(filters) if filters.kind == kind => filters,
            Some(_) | None => Filters::open(kind)?,
        };
        self.filters.insert(filters).run(frame)
    }
}

impl Filters {
    /// The picture that is still inside.
    fn finish(mut self) -> Result<Option<Shaped>, Error> {
        let Some(timestamp) = self.inside.pop_front() else {
            return Ok(None);
        };
        self.graph
            .get("in")
            .ok_or(Error::FilterNotFound)?
            .source()
            .close(self.count)?;
        let mut shaped = frame::Video::empty();
        let sunk = self
            .graph
            .get("out")
            .ok_or(Error::FilterNotFound)?
            .sink()
            .frame(&mut shaped);
        Ok(sunk.is_ok().then_some((shaped, timestamp)))
    }

    fn open(kind: Kind) -> Result<Self, Error> {
        let mut graph = Graph::new();
        let find = |name| filter::find(name).ok_or(Error::FilterNotFound);
        let Rational(wide, high) = kind.aspect;
        let arguments = format!(
            "video_size={}x{}:pix_fmt={}:time_base=1/1:pixel_aspect={wide}/{}",
            kind.size.0,
            kind.size.1,
            ffi::format_name(kind.format),
            high.max(1)
        );
        graph.add(&find("buffer")?, "in", &arguments)?;
        graph.add(&find("buffersink")?, "out", "")?;
        let mut chain = Vec::new();
        if kind.deinterlaced {
            // One picture for each that comes; whole ones pass as they are.
            chain.push("bwdif=mode=send_frame:deint=interlaced");
        }
        chain.extend(kind.orientation.filters());
        graph.output("in", 0)?.input("out", 0)?.parse(&chain.join(","))?;
        graph.validate()?;
        Ok(Self {
            kind,
            graph,
            inside: VecDeque::new(),
            count: 0,
        })
    }

    fn run(&mut self, mut frame: frame::Video) -> Result<Option<Shaped>, Error> {
        self.inside.push_back(timestamp(&frame));
        // The filters order by time, which a broken source may not have.
        frame.set_pts(Some(self.count));
        self.count += 1;
        self.graph
            .get("in")
            .ok_or(Error::FilterNotFound)?
            .source()
            .add(&frame)?;
        let mut shaped = frame::Video::empty();
        match self
            .graph
            .get("out")
            .ok_or(Error::FilterNotFound)?
            .sink()
            .frame(&mut shaped)
        {
            Ok(()) => {
                // What the sender stored with the pictures does not hold for what came of it.
                shaped.remove_side_data(Type::DisplayMatrix);
                Ok(Some((shaped, self.inside.pop_front().flatten())))
            }
            Err(Error::Other { errno: EAGAIN }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn timestamp(frame: &frame::Video) -> Option<i64> {
    frame.timestamp().or(frame.pts())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oblong_pixels_make_a_wider_or_narrower_picture() {
        for (size, aspect, square_size) in [
            ((720, 576), (16, 11), (1048, 576)),
            ((720, 480), (10, 11), (654, 480)),
            ((720, 576), (64, 45), (1024, 576)),
            ((1440, 1080), (4, 3), (1920, 1080)),
            ((1280, 720), (1, 1), (1280, 720)),
            ((1279, 719), (0, 1), (1279, 719)),
            ((640, 480), (1, 255), (640, 480)),
        ] {
            assert_eq!(
                square(size, Rational(aspect.0, aspect.1)),
                square_size,
                "{size:?} {aspect:?}"
            );
        }
    }

    #[test]
    fn a_display_matrix_turns_by_quarters_and_mirrors() {
        let one = 1 << 16;
        for (corner, filters) in [
            ([one, 0, 0, one], vec![]),
            ([0, one, -one, 0], vec!["transpose=dir=clock"]),
            ([-one, 0, 0, -one], vec!["hflip", "vflip"]),
            ([0, -one, one, 0], vec!["transpose=dir=cclock"]),
            ([-one, 0, 0, one], vec!["hflip"]),
            ([one, 0, 0, -one], vec!["vflip"]),
        ] {
            let [a, b, c, d] = corner;
            let matrix: Vec<u8> = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
                .iter()
                .flat_map(|number: &i32| number.to_ne_bytes())
                .collect();
            assert_eq!(Orientation::of(&matrix).unwrap().filters(), filters, "{corner:?}");
        }
        assert_eq!(Orientation::of(&[0; 12]), None);
    }
}
