package secret

import "strings"

// finder finds any of many texts in one pass (Aho-Corasick). The state after a byte
// is the longest suffix of what was read that begins one of the texts.
type finder struct {
	class  [256]uint16 // of a byte: 0 for those that no text has
	width  int         // number of classes
	next   []int32     // state and class to state
	depth  []int32     // length of a state's suffix
	length []int32     // length of the longest text that ends in a state; 0 if none does
}

func newFinder(texts []string) *finder {
	f := &finder{width: 1}
	for _, text := range texts {
		for i := range len(text) {
			if f.class[text[i]] == 0 {
				f.class[text[i]] = uint16(f.width)
				f.width++
			}
		}
	}
	f.state(0)
	for _, text := range texts {
		at := int32(0)
		for i := range len(text) {
			to := &f.next[int(at)*f.width+int(f.class[text[i]])]
			if *to == 0 {
				child := int32(len(f.depth))
				*to = child
				f.state(f.depth[at] + 1) // moves next
			}
			at = f.next[int(at)*f.width+int(f.class[text[i]])]
		}
		f.length[at] = max(f.length[at], int32(len(text)))
	}
	f.link()
	return f
}

// state adds a state without transitions.
func (f *finder) state(depth int32) {
	f.next = append(f.next, make([]int32, f.width)...)
	f.depth, f.length = append(f.depth, depth), append(f.length, 0)
}

// link completes the transitions, in the order of the states' depth: where a text
// has no transition for a byte, its longest suffix that begins a text may have one.
func (f *finder) link() {
	suffix := make([]int32, len(f.depth))
	queue := []int32{0}
	for n := 0; n < len(queue); n++ {
		at := queue[n]
		for c := range f.width {
			to := &f.next[int(at)*f.width+c]
			back := int32(0)
			if at != 0 {
				back = f.next[int(suffix[at])*f.width+c]
			}
			if *to == 0 || f.depth[*to] <= f.depth[at] {
				*to = back
				continue
			}
			suffix[*to] = back
			f.length[*to] = max(f.length[*to], f.length[back])
			queue = append(queue, *to)
		}
	}
}

func (f *finder) step(state int32, b byte) int32 {
	return f.next[int(state)*f.width+int(f.class[b])]
}

// finds reports whether data has one of the texts.
func (f *finder) finds(data []byte) bool {
	state := int32(0)
	for _, b := range data {
		if state = f.step(state, b); f.length[state] > 0 {
			return true
		}
	}
	return false
}

// span is a part of a text, from one index to before another.
type span struct{ from, to int }

// scan continues in a state with text[at:], and returns the next state and the spans
// of what it finds added to some. Spans that touch become one.
func (f *finder) scan(text string, at int, state int32, spans []span) (int32, []span) {
	next, width, length := f.next, f.width, f.length
	for i := at; i < len(text); i++ {
		state = next[int(state)*width+int(f.class[text[i]])]
		n := int(length[state])
		if n == 0 {
			continue
		}
		found := span{max(i+1-n, 0), i + 1}
		for len(spans) > 0 && spans[len(spans)-1].to >= found.from {
			found.from = min(found.from, spans[len(spans)-1].from)
			spans = spans[:len(spans)-1]
		}
		spans = append(spans, found)
	}
	return state, spans
}

// redact replaces the texts that it finds by the marker.
func (f *finder) redact(text string) string {
	_, spans := f.scan(text, 0, 0, nil)
	return replace(text, spans)
}

func replace(text string, spans []span) string {
	if len(spans) == 0 {
		return text
	}
	var out strings.Builder
	at := 0
	for _, s := range spans {
		out.WriteString(text[at:s.from] + Marker)
		at = s.to
	}
	return out.String() + text[at:]
}
