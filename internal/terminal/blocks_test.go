package terminal

import (
	"slices"
	"strings"
	"testing"
)

// last returns the blocks at the end of a text.
func last(b *blocks) []string {
	whole := b.endLine()
	if b.block.Len() > 0 {
		whole = append(whole, b.take())
	}
	return whole
}

func TestBlocksOfMarkdown(t *testing.T) {
	for _, c := range []struct {
		name string
		want []string
	}{
		{"a paragraph is whole at an empty line", []string{"one\ntwo\n\n", "three"}},
		{"a heading is whole at once", []string{"# Title\n", "text\n\n"}},
		{"a heading ends a paragraph", []string{"text\n", "## More\n", "x"}},
		{"no heading without a space", []string{"#hash\ntag\n\n"}},
		{"code in a fence is whole when it is closed", []string{"```go\na\n\nb\n```\n", "text"}},
		{"a fence ends a paragraph", []string{"see\n", "~~~\n# no heading\n~~~\n"}},
		{"code that is open is not whole", []string{"```\na\n\n# b\n\n- c\n"}},
		{"a table is whole at an empty line", []string{"| a |\n|---|\n| b |\n\n", "x"}},
		{"a list continues behind empty lines", []string{"- a\n\n- b\n\n  more of b\n\n", "text"}},
		{"a numbered list does too", []string{"9. a\n\n10. b\n", "# Title\n"}},
		{"a list ends a paragraph", []string{"do this:\n", "1. a\n\n   more of a\n\n", "x"}},
		{"a number in a text does not", []string{"it was\n1984. A year\n\n"}},
		{"code in a list belongs to it", []string{"1. a\n\n   ```sh\n   b\n\n   c\n   ```\n\n2. d\n\n", "text"}},
		{"code that begins an item does too", []string{"- ```sh\n  a\n\n  b\n  ```\n- c\n\n", "text"}},
		{"code that an item leaves open ends with it", []string{"- ```sh\n  a\n\n", "text\n\n"}},
		{"indented code continues behind empty lines", []string{"    a\n\n    b\n\n", "text"}},
		{"empty lines belong to what follows", []string{"\n\ntext\n\n", "\n"}},
		{"Windows line ends", []string{"a\r\n\r\n", "```\r\nb\r\n```\r\n", "c"}},
		{"nothing", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Join(c.want, "")
			for _, size := range []int{1, 2, 7, max(1, len(text))} {
				var b blocks
				var got []string
				for piece := range slices.Chunk([]byte(text), size) {
					got = append(got, b.add(string(piece))...)
				}
				if got = append(got, last(&b)...); !slices.Equal(got, c.want) {
					t.Errorf("in pieces of %d: got %q, want %q", size, got, c.want)
				}
			}
		})
	}
}

// FuzzBlocks: the concatenated blocks are the text, however it is cut in pieces.
func FuzzBlocks(f *testing.F) {
	f.Add("# a\n\n- b\n\n  c\n```\nd\n```\n\n    e\n", 3)
	f.Add("- ```\n  a\n```\nb\r\n\r\n1. c", 1)
	f.Fuzz(func(t *testing.T, text string, size int) {
		var whole, pieces blocks
		want := append(whole.add(text), last(&whole)...)
		var got []string
		for piece := range slices.Chunk([]byte(text), max(1, size)) {
			got = append(got, pieces.add(string(piece))...)
		}
		got = append(got, last(&pieces)...)
		if !slices.Equal(got, want) {
			t.Fatalf("%q at once is %q, in pieces %q", text, want, got)
		}
		if strings.Join(got, "") != text {
			t.Fatalf("%q became %q", text, got)
		}
		if slices.Contains(got, "") {
			t.Fatalf("%q has an empty block: %q", text, got)
		}
	})
}
