// Command generate writes the files that are derived from the structs of
// internal/events and internal/offer and from the tables of internal/topology:
// schemas/*.json, schemas/asyncapi.yaml, docs/events.md and the state machines in
// docs/protocol.md. It reads the examples under schemas/examples, which are written by
// hand.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "folder of the module")
	flag.Parse()
	if err := write(*root); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// write writes the files and removes schemas of removed events.
func write(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(root, "schemas", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, ok := files["schemas/"+filepath.Base(path)]; !ok {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the content of every generated file by its path under root.
func generate(root string) (map[string][]byte, error) {
	src, err := parse(filepath.Join(root, "internal", "events"), filepath.Join(root, "internal", "offer"))
	if err != nil {
		return nil, err
	}
	if err := checkChannels(); err != nil {
		return nil, err
	}
	defs, err := describe(src)
	if err != nil {
		return nil, err
	}
	examples, err := readExamples(filepath.Join(root, "schemas", "examples"), defs)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"docs/events.md": document(src, defs, examples)}
	for _, e := range defs.events {
		if files["schemas/"+e.name+".json"], err = schemaFile(e, defs); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", e.name, err)
		}
	}
	if files["schemas/"+bundleName], err = bundle(defs); err != nil {
		return nil, fmt.Errorf("%s: %w", bundleName, err)
	}
	if files["schemas/asyncapi.yaml"], err = asyncAPI(src, defs, examples); err != nil {
		return nil, fmt.Errorf("asyncapi.yaml: %w", err)
	}
	if files["docs/protocol.md"], err = drawMachines(root); err != nil {
		return nil, err
	}
	return files, nil
}

// readExamples reads the example of every event.
func readExamples(dir string, defs *definitions) (map[string][]byte, error) {
	examples := map[string][]byte{}
	for _, e := range defs.events {
		raw, err := os.ReadFile(filepath.Join(dir, e.name+".json"))
		if err != nil {
			return nil, fmt.Errorf("%s needs an example, write one by hand: %w", e.name, err)
		}
		examples[e.name] = raw
	}
	return examples, nil
}
