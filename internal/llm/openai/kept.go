package openai

import (
	"encoding/json"
	"strconv"
)

// keep yields what a chunk adds to the answer besides text, reasoning and calls:
// sources, images, the id of speech. It is in the log, as a part without text, and is
// not sent back: no host documents that it takes it. Each chunk has a block of its
// own, so that nothing is held until the end.
func (d *decoder) keep(o *object) bool {
	fields := o.raw()
	if fields == nil {
		return true
	}
	d.kept++
	return d.w.Reasoning("kept"+strconv.Itoa(d.kept), "", false, json.RawMessage(`{"kept":`+string(fields)+`}`))
}

// speech decodes what a chunk has of a spoken answer: its transcript is the answer's
// text. The sound itself, which a request must ask for, is left out.
func (d *decoder) speech(raw []byte, rest *object) bool {
	var about object
	for key, v := range members(raw) {
		switch string(key) {
		case "transcript":
			if !d.text(text(v)) {
				return false
			}
		case "data":
		default:
			about.set(string(key), v)
		}
	}
	rest.set("audio", about.raw())
	return true
}

// isBlank reports whether a delta has no content: it is null, or has only empty fields
// beside its role.
func isBlank(delta []byte) bool {
	if isNull(delta) {
		return true
	}
	if delta[0] != '{' {
		return false
	}
	for key, v := range members(delta) {
		switch string(v) {
		case "null", `""`, "[]", "{}":
			continue
		}
		if string(key) != "role" {
			return false
		}
	}
	return true
}
