//! Owns the confusion matrix: a heat map, what is right in one colour and what is wrong in another.

use super::figure::Figure;
use super::numbers::{counted, percent};
use super::svg::{Canvas, clip, width};
use super::tally::{Class, Tally};

/// With more classes than that, cells are too small to see.
const MOST_CLASSES: usize = 60;
/// The sides of the square.
const SIDE: f64 = 560.0;
const RECALL: f64 = 70.0;

/// How the square is laid out.
struct Grid {
    left: f64,
    top: f64,
    cell: f64,
    side: f64,
}

/// The heat map, if there are not too many classes for one.
pub(super) fn figure(tally: &Tally, name: String) -> Option<Figure> {
    let classes: Vec<(u32, &Class)> = tally.classes.iter().map(|(number, class)| (*number, class)).collect();
    if classes.len() > MOST_CLASSES {
        return None;
    }
    let most = if classes.len() <= 12 { 24 } else { 14 };
    let names: Vec<String> = classes.iter().map(|(_, class)| clip(&class.name, most)).collect();
    let longest = names.iter().map(|name| width(name, 11.0)).fold(0.0, f64::max);
    let cell = (SIDE / classes.len() as f64).min(64.0);
    let upright = longest <= cell - 2.0;
    let top = if upright { 42.0 } else { 34.0 + longest };
    let grid = Grid { left: 34.0 + longest, top, cell, side: cell * classes.len() as f64 };
    let mut canvas = Canvas::default();
    draw_frame(&mut canvas, &grid, &names, upright);
    draw_cells(&mut canvas, &grid, &classes, tally);
    draw_recall(&mut canvas, &grid, &classes);
    let size = (grid.left + grid.side + 24.0 + RECALL + 46.0, grid.top + grid.side + 12.0);
    let title = "Which class is taken for which".to_owned();
    Some(Figure { name, title, caption: caption(tally), size, drawing: canvas.finish() })
}

fn draw_frame(canvas: &mut Canvas, grid: &Grid, names: &[String], upright: bool) {
    let (right, bottom) = (grid.left + grid.side, grid.top + grid.side);
    canvas.rect("lane", (grid.left, grid.top), (grid.side, grid.side), None);
    canvas.text("mute m", ((grid.left + right) / 2.0, 14.0), "the model says");
    canvas.upwards("mute m", (14.0, (grid.top + bottom) / 2.0), "the class is");
    canvas.text("mute", (right + 14.0, grid.top - 10.0), "recall");
    // Small cells have small names, and none if that is not enough.
    let small = if grid.cell < 13.0 { " s" } else { "" };
    for (place, name) in names.iter().enumerate() {
        let middle = grid.cell * (place as f64 + 0.5);
        canvas.text(&format!("e{small}"), (grid.left - 7.0, grid.top + middle + 4.0), name);
        if upright {
            canvas.text(&format!("m{small}"), (grid.left + middle, grid.top - 8.0), name);
        } else {
            canvas.upwards(small.trim(), (grid.left + middle + 4.0, grid.top - 7.0), name);
        }
    }
}

fn draw_cells(canvas: &mut Canvas, grid: &Grid, classes: &[(u32, &Class)], tally: &Tally) {
    let place = |number: u32| classes.iter().position(|(other, _)| *other == number).unwrap_or(0) as f64;
    // Mistakes are few beside what is right: they have a scale of their own.
    let share =
        |right: u32, rows: u64| rows as f64 / tally.classes.get(&right).map_or(1, |c| c.rows).max(1) as f64;
    let wrong = tally.counts.iter().filter(|((right, said), _)| right != said);
    let most = wrong.map(|(&(right, _), &rows)| share(right, rows)).fold(f64::MIN_POSITIVE, f64::max);
    for (&(right, said), &rows) in &tally.counts {
        let part = share(right, rows);
        let (class, depth) = if right == said { ("right", part) } else { ("wrong", (part / most).sqrt()) };
        let depth = 0.08 + 0.92 * depth.clamp(0.0, 1.0);
        let at = (grid.left + grid.cell * place(said), grid.top + grid.cell * place(right));
        let verb = if right == said { "known as" } else { "taken for" };
        let (is, says, share) = (tally.name(right), tally.name(said), percent(part, 1.0));
        let title = format!("{is} {verb} {says}: {} ({share} of {is})", counted(rows, "row"));
        canvas.raw(&format!("<g fill-opacity=\"{depth:.2}\">"));
        canvas.rect(class, (at.0 + 0.5, at.1 + 0.5), (grid.cell - 1.0, grid.cell - 1.0), Some(&title));
        canvas.raw("</g>");
        let text = rows.to_string();
        let (size, look) = if grid.cell >= 28.0 { (12.0, "") } else { (10.0, " s") };
        if width(&text, size) <= grid.cell - 2.0 && grid.cell >= 14.0 {
            let look = format!("m{look}{}", if depth > 0.6 { " inverse" } else { "" });
            canvas.text(&look, (at.0 + grid.cell / 2.0, at.1 + grid.cell / 2.0 + size * 0.36), &text);
        }
    }
}

/// Bars beside the rows.
fn draw_recall(canvas: &mut Canvas, grid: &Grid, classes: &[(u32, &Class)]) {
    let left = grid.left + grid.side + 14.0;
    for (place, (_, class)) in classes.iter().enumerate().filter(|(_, (_, class))| class.rows > 0) {
        let top = grid.top + grid.cell * place as f64;
        let high = (grid.cell - 3.0).clamp(3.0, 16.0);
        let from = top + (grid.cell - high) / 2.0;
        let title = format!("{}: {} of {} known", class.name, class.known, counted(class.rows, "row"));
        canvas.rect("lane", (left, from), (RECALL, high), None);
        canvas.rect("right", (left, from), (RECALL * class.recall(), high), Some(&title));
        let look = if grid.cell < 13.0 { "s" } else { "" };
        canvas.text(look, (left + RECALL + 7.0, top + grid.cell / 2.0 + 4.0), &percent(class.recall(), 1.0));
    }
}

/// What you see, in words.
pub(super) fn caption(tally: &Tally) -> String {
    let mut text = format!(
        "The model knows {} of {} validation rows ({}).",
        tally.known,
        tally.rows,
        percent(tally.known as f64, tally.rows as f64)
    );
    let recalls = tally.classes.values().filter(|class| class.rows > 0);
    if let Some(least) = recalls.min_by(|a, b| a.recall().total_cmp(&b.recall())) {
        text.push_str(&format!(" Hardest is {}, with a recall of {}.", least.name, percent(least.recall(), 1.0)));
    }
    if let Some(&(right, said, rows)) = tally.worst().first() {
        let (right, said) = (tally.name(right), tally.name(said));
        text.push_str(&format!(
            " The most frequent mistake: {right} taken for {said}, {}.",
            counted(rows, "time")
        ));
    }
    if tally.classes.len() <= MOST_CLASSES {
        text.push_str(" Blue: right; orange: wrong, with a scale of its own, so that few mistakes are seen.");
    }
    text
}
