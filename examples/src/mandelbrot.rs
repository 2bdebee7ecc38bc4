//! The Mandelbrot set as work to distribute: a picture, its tiles, and what one tile looks like.
//!
//! A [`TileTask`] travels as MessagePack and says everything that its renderer needs; the result is the
//! tile's pixels, three bytes each, row by row.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// The kind of task that renders a [`TileTask`].
pub const TILE: &str = "mandelbrot.tile";

/// Bytes of one pixel: red, green, blue.
const PIXEL_BYTES: usize = 3;
/// Points that are looked at along each side of a pixel; their mean is the pixel.
const SAMPLES: u32 = 2;
/// Beyond this distance (squared) a point never comes back; far enough out that the smooth count is smooth.
const ESCAPE_SQUARED: f64 = 256.0;

/// A picture: its size in pixels and the part of the plane that it shows.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// The point in the middle: real part.
    pub center_re: f64,
    /// The point in the middle: imaginary part.
    pub center_im: f64,
    /// The width of what is shown.
    pub span: f64,
    /// A point that has not escaped after so many steps counts as inside.
    pub steps_max: u32,
}

/// A rectangle of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tile {
    /// Its left edge.
    pub x: u32,
    /// Its upper edge.
    pub y: u32,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// The payload of one task.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct TileTask {
    /// The picture that the tile is a part of.
    pub picture: Picture,
    /// The part to render.
    pub tile: Tile,
}

/// Pixels that are put together tile by tile.
#[derive(Clone, Debug)]
pub struct Canvas {
    picture: Picture,
    pixels: Vec<u8>,
}

impl Picture {
    /// A valley at the rim of the set, in a size that fills a screen.
    pub const VALLEY: Self = Self {
        width: 1920,
        height: 1080,
        center_re: -0.743_643_9,
        center_im: 0.131_825_9,
        span: 0.011,
        steps_max: 1_000,
    };

    /// The picture as tasks, row by row, each at most `side` pixels wide and high.
    pub fn tasks(self, side: u32) -> Vec<TileTask> {
        let side = side.max(1);
        let mut tasks = Vec::new();
        for y in (0..self.height).step_by(side as usize) {
            for x in (0..self.width).step_by(side as usize) {
                let tile = Tile { x, y, width: side.min(self.width - x), height: side.min(self.height - y) };
                tasks.push(TileTask { picture: self, tile });
            }
        }
        tasks
    }

    /// The point of the plane at a place given in pixels.
    fn point(&self, x: f64, y: f64) -> (f64, f64) {
        let scale = self.span / f64::from(self.width);
        let re = self.center_re + (x - f64::from(self.width) / 2.0) * scale;
        let im = self.center_im - (y - f64::from(self.height) / 2.0) * scale;
        (re, im)
    }
}

impl Tile {
    /// Bytes of its pixels.
    pub fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * PIXEL_BYTES
    }
}

impl TileTask {
    /// Renders the tile. `stop` is asked before each row; once it says yes, nothing is returned.
    pub fn render(&self, stop: impl Fn() -> bool) -> Option<Vec<u8>> {
        let mut pixels = Vec::with_capacity(self.tile.bytes());
        for y in self.tile.y..self.tile.y + self.tile.height {
            if stop() {
                return None;
            }
            for x in self.tile.x..self.tile.x + self.tile.width {
                pixels.extend(self.pixel(x, y));
            }
        }
        Some(pixels)
    }

    fn pixel(&self, x: u32, y: u32) -> [u8; PIXEL_BYTES] {
        let mut sum = [0.0; PIXEL_BYTES];
        let place =
            |pixel: u32, sample: u32| f64::from(pixel) + (f64::from(sample) + 0.5) / f64::from(SAMPLES);
        for sample in 0..SAMPLES * SAMPLES {
            let (re, im) = self.picture.point(place(x, sample % SAMPLES), place(y, sample / SAMPLES));
            let color = color(escape(re, im, self.picture.steps_max));
            sum.iter_mut().zip(color).for_each(|(sum, part)| *sum += part);
        }
        sum.map(|part| (part / f64::from(SAMPLES * SAMPLES) * 255.0).round() as u8)
    }
}

impl Canvas {
    /// An empty canvas.
    pub fn new(picture: Picture) -> Self {
        let bytes = picture.width as usize * picture.height as usize * PIXEL_BYTES;
        Self { picture, pixels: vec![0; bytes] }
    }

    /// Puts a rendered tile in its place.
    ///
    /// # Errors
    /// When the tile does not lie inside the picture, or `pixels` is not as long as its size asks for.
    pub fn put(&mut self, tile: Tile, pixels: &[u8]) -> io::Result<()> {
        let inside = |from: u32, length: u32, edge: u32| {
            length > 0 && from.checked_add(length).is_some_and(|end| end <= edge)
        };
        if !inside(tile.x, tile.width, self.picture.width)
            || !inside(tile.y, tile.height, self.picture.height)
            || pixels.len() != tile.bytes()
        {
            let text = format!("{} bytes do not fit {tile:?}", pixels.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let row_bytes = tile.width as usize * PIXEL_BYTES;
        for (row, y) in pixels.chunks_exact(row_bytes).zip(tile.y..) {
            let start = (y as usize * self.picture.width as usize + tile.x as usize) * PIXEL_BYTES;
            self.pixels[start..start + row_bytes].copy_from_slice(row);
        }
        Ok(())
    }

    /// Writes the picture as PNG.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_png(&self, to: impl Write) -> io::Result<()> {
        let mut encoder = png::Encoder::new(to, self.picture.width, self.picture.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(io::Error::other)?;
        writer.write_image_data(&self.pixels).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)
    }
}

/// After how many steps a point escapes, smoothed between whole numbers; `None` when it does not.
fn escape(re: f64, im: f64, steps_max: u32) -> Option<f64> {
    let (mut x, mut y) = (0.0_f64, 0.0_f64);
    for step in 0..steps_max {
        let (x2, y2) = (x * x, y * y);
        if x2 + y2 > ESCAPE_SQUARED {
            let smooth = ((x2 + y2).log2() / 2.0).log2();
            return Some((f64::from(step) - smooth).max(0.0));
        }
        y = 2.0 * x * y + im;
        x = x2 - y2 + re;
    }
    None
}

/// Three waves of different lengths, so that neighbouring counts differ little and no colour repeats soon.
fn color(steps: Option<f64>) -> [f64; PIXEL_BYTES] {
    let Some(steps) = steps else { return [0.0; PIXEL_BYTES] };
    let at = steps.sqrt() * 0.55;
    [0.9, 1.6, 2.3].map(|phase| 0.5 - 0.5 * (at + phase).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Picture = Picture { width: 50, height: 30, ..Picture::VALLEY };

    fn render(side: u32) -> Canvas {
        let mut canvas = Canvas::new(SMALL);
        for task in SMALL.tasks(side) {
            canvas.put(task.tile, &task.render(|| false).unwrap()).unwrap();
        }
        canvas
    }

    #[test]
    fn tiles_make_the_same_picture_whatever_their_size() {
        let whole = render(1_000).pixels;
        assert!(whole.iter().any(|byte| *byte != 0));
        for side in [1, 7, 16, 30] {
            assert!(render(side).pixels == whole, "tiles of {side} pixels");
        }
    }

    #[test]
    fn the_middle_of_the_set_is_inside_and_far_away_is_not() {
        assert_eq!(escape(0.0, 0.0, 1_000), None);
        assert!(escape(2.0, 2.0, 1_000).is_some());
    }

    #[test]
    fn a_tile_that_does_not_fit_is_refused() {
        let mut canvas = Canvas::new(SMALL);
        let tile = Tile { x: 45, y: 0, width: 10, height: 1 };
        assert!(canvas.put(tile, &vec![0; tile.bytes()]).is_err());
        let tile = Tile { x: 0, y: u32::MAX, width: 1, height: 1 };
        assert!(canvas.put(tile, &[0; 3]).is_err());
        assert!(canvas.put(Tile { x: 0, y: 0, width: 2, height: 1 }, &[0; 3]).is_err());
    }

    #[test]
    fn a_stopped_rendering_returns_nothing() {
        assert_eq!(SMALL.tasks(10)[0].render(|| true), None);
    }

    #[test]
    fn the_png_reads_back_as_the_pixels() {
        let canvas = render(25);
        let mut file = Vec::new();
        canvas.write_png(&mut file).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (SMALL.width, SMALL.height));
        assert!(pixels == canvas.pixels);
    }
}
