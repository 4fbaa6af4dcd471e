// Package schemas holds the wire contract for programs in any language: a JSON
// Schema (2020-12) per event to validate with, one bundle of them all to generate code
// from, an example of each event, and the AsyncAPI document with subjects, headers,
// writers and permissions.
//
// The bundle, parley.schema.json, is the contract of exactly this version. In the
// schema of a Decision alone, events of later versions are valid too: readers skip
// them.
//
// Everything except the examples is generated from the structs of internal/events and
// internal/offer and from the tables of internal/topology:
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

// FS returns all files: parley.schema.json, <Event>.json, examples/<Event>.json,
// asyncapi.yaml.
func FS() fs.FS { return files }

// Lookup returns the JSON Schema of an event by its type.
func Lookup(name string) ([]byte, bool) {
	if strings.Contains(name, "/") {
		return nil, false
	}
	raw, err := files.ReadFile(name + ".json")
	return raw, err == nil
}
