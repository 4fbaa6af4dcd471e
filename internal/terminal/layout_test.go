package terminal

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// words generates texts of others: of any script, wide, hostile, empty.
func words() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z0-9-]{0,12}`), rapid.String(),
		rapid.SampledFrom([]string{"", "漢字漢字", "👨\u200d👩\u200d👧", "⚠\ufe0f", "e\u0301", "\x1b[31m", "a\tb\r\nc", "\u202e", "0197f3a2-7c1e-7000-8000-000000000001"}),
	)
}

func TestATableFitsAtEveryWidth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := Profile{Width: rapid.IntRange(widthMin, 120).Draw(rt, "width"), Unicode: rapid.Bool().Draw(rt, "unicode")}
		columns := rapid.IntRange(1, 8).Draw(rt, "columns")
		row := rapid.SliceOfN(words(), 0, columns)
		header, rows := row.Draw(rt, "header"), rapid.SliceOfN(row, 0, 5).Draw(rt, "rows")
		var out bytes.Buffer
		if err := Table(&out, p, header, rows); err != nil {
			rt.Fatal(err)
		}
		harmless(t, "the table", out.String())
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		want := len(rows)
		if len(header) > 0 {
			want++
		}
		if got := strings.Count(out.String(), "\n"); got != want {
			rt.Fatalf("%d lines for %d rows: %q", got, want, out.String())
		}
		for _, line := range lines {
			if cells(line) > p.Width {
				rt.Fatalf("%q takes %d columns of %d", line, cells(line), p.Width)
			}
		}
	})
}

func TestATableForProgramsHoldsEveryCell(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := Profile{Unicode: true}
		rows := rapid.SliceOfN(rapid.SliceOfN(words(), 1, 5), 1, 5).Draw(rt, "rows")
		var out bytes.Buffer
		if err := Table(&out, p, []string{"NEVER SHOWN"}, rows); err != nil {
			rt.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		for i, row := range rows {
			if got := strings.Split(lines[i], "\t"); !slices.Equal(got, p.lines(row)) {
				rt.Fatalf("row %q became %q", row, got)
			}
		}
	})
}

func TestFillingLosesNoWord(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(rapid.StringMatching(`[a-z漢-]{0,9}`), 1, 20).Draw(rt, "words")
		separator := rapid.SampledFrom([]string{" ", " · "}).Draw(rt, "separator")
		width := rapid.IntRange(1, 40).Draw(rt, "width")
		lines := fill(all, separator, width)
		if got, want := strings.Join(lines, separator), strings.Join(all, separator); got != want {
			rt.Fatalf("%q became %q", want, lines)
		}
		for _, line := range lines {
			if cells(line) > width && strings.Contains(strings.TrimLeft(line, separator), separator) {
				rt.Fatalf("%q takes %d columns of %d", line, cells(line), width)
			}
		}
		if one := fill(all, separator, 0); len(one) != 1 {
			rt.Fatalf("without a width: %q", one)
		}
	})
}

func TestACutTextFitsAndKeepsItsBeginning(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := Profile{Unicode: rapid.Bool().Draw(rt, "unicode")}
		text := p.line(strings.Join(rapid.SliceOf(words()).Draw(rt, "words"), " "))
		width := rapid.IntRange(1, 60).Draw(rt, "width")
		got := p.cut(text, width)
		begin, cut := strings.CutSuffix(got, p.marks().ellipsis)
		switch {
		case cells(text) <= width && got != text:
			rt.Fatalf("%q fits in %d columns and became %q", text, width, got)
		case cells(got) > width:
			rt.Fatalf("%q takes %d columns of %d", got, cells(got), width)
		case !strings.HasPrefix(text, got) && !(cut && strings.HasPrefix(text, begin)):
			rt.Fatalf("%q became %q", text, got)
		}
	})
}

func TestQuotedTextsKeepTheirMarginAndEveryCharacter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := Profile{Width: rapid.IntRange(widthMin, 60).Draw(rt, "width"), Unicode: true}
		text := p.line(strings.Join(rapid.SliceOf(words()).Draw(rt, "words"), "  "))
		const margin, hang = "  | ", "  "
		var got []string
		for i, line := range p.behind(margin, hang, text) {
			rest, ok := strings.CutPrefix(line, margin)
			if i > 0 && ok {
				rest, ok = strings.CutPrefix(rest, hang)
			}
			if !ok || cells(line) > p.Width {
				rt.Fatalf("%q has no margin, or takes %d columns of %d", line, cells(line), p.Width)
			}
			got = append(got, rest)
		}
		without := strings.NewReplacer(" ", "")
		if without.Replace(strings.Join(got, "")) != without.Replace(text) {
			rt.Fatalf("%q became %q", text, got)
		}
	})
}
