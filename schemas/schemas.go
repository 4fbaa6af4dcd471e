// Package schemas holds the wire contract for programs in any language: a JSON
// Schema (2020-12) per event, an example of each, and the AsyncAPI document
// with the subjects and the writers of each event.
//
// Everything except the examples is generated from the structs of
// internal/events:
//
//	go generate ./schemas
package schemas

import (
	"embed"
	"io/fs"
	"strings"
)

//go:generate go run ./generate -root ..

//go:embed *.json examples/*.json asyncapi.yaml
var files embed.FS

// FS returns all files: <Event>.json, examples/<Event>.json, asyncapi.yaml.
func FS() fs.FS { return files }

// Lookup returns the JSON Schema of an event by its type.
func Lookup(name string) ([]byte, bool) {
	if strings.Contains(name, "/") {
		return nil, false
	}
	raw, err := files.ReadFile(name + ".json")
	return raw, err == nil
}
