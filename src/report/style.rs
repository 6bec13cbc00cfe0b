//! Owns the look: colours for light and dark that colour-blind readers can tell apart, and the style sheets.

use std::fmt::Write;

/// The colours of curves, light and dark, after Okabe and Ito; dark enough or light enough for text.
pub(super) const SERIES: [(&str, &str); 6] = [
    ("#0067a3", "#5cb8ee"),
    ("#c05000", "#f2935a"),
    ("#00805c", "#43cda6"),
    ("#a0487c", "#e59cc6"),
    ("#8a6100", "#e6b94f"),
    ("#545b66", "#b9c0ca"),
];

/// Selector, property, light, dark.
const COLOURS: &[(&str, &str, &str, &str)] = &[
    (".paper", "fill", "#ffffff", "#171b22"),
    (".picture text", "fill", "#1d2430", "#e4e8ee"),
    (".picture .mute", "fill", "#5a6371", "#9aa5b4"),
    (".grid", "stroke", "#e6e9ee", "#2a313c"),
    (".axis", "stroke", "#a2aab6", "#596473"),
    (".lane", "fill", "#f4f6f9", "#1f252e"),
    (".border", "stroke", "#8d97a5", "#6b7787"),
    (".done", "fill", "#3b8fc4", "#3f93c9"),
    (".hatch", "stroke", "#3b8fc4", "#3f93c9"),
    (".wait", "fill", "#dcebf5", "#1f3646"),
    (".refused", "stroke", "#b07a00", "#f0b429"),
    (".lost", "fill", "#d1495b", "#f0596c"),
    (".abandoned", "fill", "#9aa2ae", "#7d8795"),
    (".failed", "fill", "#7b3f98", "#bb7fd9"),
    (".other", "fill", "#3d4653", "#c3cad4"),
    (".right", "fill", "#0067a3", "#4aa8e0"),
    (".wrong", "fill", "#d1440c", "#ff7a3d"),
    (".picture .inverse", "fill", "#ffffff", "#0d1117"),
];

/// What does not depend on light or dark.
const SHAPES: &str = "\
.picture{font-family:system-ui,-apple-system,Segoe UI,Roboto,Helvetica Neue,Arial,sans-serif;font-size:12px}\
.picture text{font-variant-numeric:tabular-nums}\
.picture .m{text-anchor:middle}.picture .e{text-anchor:end}.picture .b{font-weight:600}.picture .s{font-size:10px}\
.grid,.axis,.border{stroke-width:1;fill:none}.border{stroke-opacity:.55;stroke-dasharray:2 2}\
.curve{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\
.dashed{stroke-dasharray:5 4;stroke-width:1.6}\
.thin{stroke-width:1.2}.shade0{stroke-opacity:.75}.shade1{stroke-opacity:.5}.shade2{stroke-opacity:.35}\
.shade3{stroke-opacity:.25}.shade4{stroke-opacity:.15}\
.dot{stroke:none}.ring{fill:none;stroke-width:2}\
.hit{fill-opacity:0;pointer-events:all}\
.leader{stroke-width:1;stroke-opacity:.6;stroke-dasharray:1 3}\
.refused{stroke-width:1.6}.hatch{stroke-width:2}\
";

/// The style of a picture that stands alone.
pub(super) fn of_pictures() -> String {
    let (light, dark) = themes();
    format!("{SHAPES}{light}@media screen and (prefers-color-scheme:dark){{{dark}}}")
}

/// The style of a page, with that of the pictures in it.
pub(super) fn of_page() -> String {
    format!("{PAGE_LIGHT}@media screen and (prefers-color-scheme:dark){{{PAGE_DARK}}}{PAGE}{}", of_pictures())
}

fn themes() -> (String, String) {
    let (mut light, mut dark) = (String::new(), String::new());
    let mut rule = |selector: &str, property: &str, colours: (&str, &str)| {
        // Writing to a string cannot fail.
        let _ = write!(light, "{selector}{{{property}:{}}}", colours.0);
        let _ = write!(dark, "{selector}{{{property}:{}}}", colours.1);
    };
    for (place, colours) in SERIES.iter().enumerate() {
        rule(&format!(".c{place}"), "stroke", *colours);
        rule(&format!(".picture .t{place}"), "fill", *colours);
    }
    for (selector, property, in_light, in_dark) in COLOURS {
        rule(selector, property, (in_light, in_dark));
    }
    (light, dark)
}

const PAGE_LIGHT: &str = "\
:root{color-scheme:light dark;--page:#f3f5f8;--card:#fff;--ink:#1d2430;--mute:#5a6371;--line:#dfe3e9;--bar:#bcdcf0;\
--link:#0067a3}";

const PAGE_DARK: &str = "\
:root{--page:#0d1117;--card:#171b22;--ink:#e4e8ee;--mute:#9aa5b4;--line:#2a313c;--bar:#1d4a66;--link:#5cb8ee}";

const PAGE: &str = "\
*{box-sizing:border-box}\
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,Segoe UI,Roboto,\
Helvetica Neue,Arial,sans-serif}\
main{max-width:1140px;margin:0 auto;padding:28px 20px 48px}\
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:18px;margin:36px 0 12px}\
h3{font-size:14px;margin:0 0 8px}p{margin:0}\
.sub{color:var(--mute);overflow-wrap:anywhere}\
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(156px,1fr));gap:12px;margin:20px 0 0}\
.figures div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;min-width:0}\
.figures dt{color:var(--mute);font-size:13px}\
.figures dd{margin:0;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}\
.figures dd small{display:block;font-size:13px;font-weight:400;color:var(--mute)}\
.figures .wide{grid-column:1/-1}.figures .wide dd{font:13px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\
figure,.card{margin:0 0 16px;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px}\
figcaption{color:var(--mute);font-size:14px;max-width:112ch;margin-top:8px}\
.scroll{overflow-x:auto}.picture{display:block;width:100%;min-width:720px;height:auto}\
.narrow .picture{min-width:480px}\
.sides{display:grid;grid-template-columns:minmax(0,1fr) minmax(270px,320px);gap:16px;align-items:start}\
.sides.plain{grid-template-columns:1fr 1fr}\
@media (max-width:860px){.sides,.sides.plain{grid-template-columns:1fr}}\
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}\
caption{text-align:left;color:var(--mute);font-size:14px;padding-bottom:6px}\
th,td{padding:5px 18px 5px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top;\
overflow-wrap:anywhere}\
thead th{color:var(--mute);font-weight:500;font-size:13px;white-space:nowrap}\
tbody th{font-weight:500}tr:last-child td,tbody tr:last-child th{border-bottom:0}\
.n{text-align:right;white-space:nowrap}\
td.bar{background-image:linear-gradient(var(--bar),var(--bar));background-repeat:no-repeat;\
background-position:0 50%;background-size:0 70%;padding-left:8px}\
details{margin:0 0 16px;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px}\
summary{cursor:pointer;color:var(--link)}details[open] summary{margin-bottom:10px}\
footer{color:var(--mute);font-size:13px;margin-top:32px}\
@media print{body{font-size:11pt;background:#fff}main{max-width:none;padding:0}\
figure,.card,.figures div{break-inside:avoid;border-color:#ccc}h2,h3{break-after:avoid}\
.picture{min-width:0}.scroll{overflow:visible}details:not([open]){display:none}\
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}";
