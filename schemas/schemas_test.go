package schemas_test

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/schemas"
)

func TestEveryEventHasASchemaAndAnExample(t *testing.T) {
	for _, e := range events.Prototypes() {
		raw, ok := schemas.Lookup(e.Type())
		if !ok {
			t.Errorf("%s has no schema: run go generate ./schemas", e.Type())
			continue
		}
		var schema struct {
			ID    string `json:"$id"`
			Title string `json:"title"`
		}
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Errorf("%s: %v", e.Type(), err)
		}
		if schema.Title != e.Type() || schema.ID != "https://parleybus.dev/schemas/"+e.Type()+".json" {
			t.Errorf("%s has the schema %+v", e.Type(), schema)
		}
		if _, err := fs.Stat(schemas.FS(), "examples/"+e.Type()+".json"); err != nil {
			t.Errorf("%s has no example: %v", e.Type(), err)
		}
	}
}

func TestLookupFindsSchemasOnly(t *testing.T) {
	for _, name := range []string{"Later", "", "asyncapi", "examples/Cancel", "../schemas/Cancel"} {
		if raw, ok := schemas.Lookup(name); ok {
			t.Errorf("%q gives %.40q", name, raw)
		}
	}
}
