package secret

// minHeld is how many bytes at the end of a piece must begin a secret before they
// are held back. Nearly every piece ends in a few that do: a secret that is cut
// there shows its first three bytes, and nothing after them.
const minHeld = 4

// Stream redacts a text that comes in pieces. It is not safe for concurrent use.
type Stream struct {
	finder  *finder
	state   int32
	held    string // not yet returned: it may begin a secret
	spans   []span // secrets in held
	started bool   // the marker for the secret at the beginning of held was returned
}

// Stream returns a stream that redacts the secrets that the set has now.
func (s *Set) Stream() *Stream { return &Stream{finder: s.current()} }

// Next takes a piece and returns what can be shown: it holds back an end that may
// begin a secret.
func (s *Stream) Next(piece string) string {
	if s.finder == nil {
		return piece
	}
	text := s.held + piece
	s.state, s.spans = s.finder.scan(text, len(s.held), s.state, s.spans)
	keep := int(s.finder.depth[s.state])
	if keep < minHeld {
		keep = 0
	}
	return s.show(text, max(len(text)-keep, 0))
}

// End returns what was held back. The stream begins anew.
func (s *Stream) End() string {
	if s.finder == nil {
		return ""
	}
	text := s.show(s.held, len(s.held))
	s.state, s.started = 0, false
	return text
}

// show returns text[:cut] redacted and holds the rest.
func (s *Stream) show(text string, cut int) string {
	var now, later []span
	for _, p := range s.spans {
		if p.from < cut {
			now = append(now, span{p.from, min(p.to, cut)})
		}
		if p.to > cut {
			later = append(later, span{max(p.from, cut) - cut, p.to - cut})
		}
	}
	first := 0
	if s.started && len(now) > 0 && now[0].from == 0 {
		first, now = now[0].to, now[1:]
	}
	for i := range now {
		now[i].from, now[i].to = now[i].from-first, now[i].to-first
	}
	if cut > 0 {
		s.started = len(later) > 0 && later[0].from == 0 && len(now)+first > 0 && s.spans[len(s.spans)-len(later)].from < cut
	}
	s.held, s.spans = text[cut:], later
	return replace(text[first:cut], now)
}
