package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// machine is a state machine of the protocol. schemas/vectors/machines.json has all;
// the tests of the fold hold that table.
type machine struct {
	Name  string
	Says  string
	Start string
	Moves []struct{ From, On, To string }
}

// The marks around the pictures in docs/protocol.md.
const (
	machinesFrom = "<!-- machines: generated from schemas/vectors/machines.json by go generate ./schemas -->\n"
	machinesTo   = "<!-- /machines -->\n"
)

// drawMachines returns docs/protocol.md with the pictures of the machines.
func drawMachines(root string) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(root, "schemas", "vectors", "machines.json"))
	if err != nil {
		return nil, err
	}
	var all []machine
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("machines.json: %w", err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "protocol.md"))
	if err != nil {
		return nil, err
	}
	head, rest, ok := bytes.Cut(doc, []byte(machinesFrom))
	_, tail, closed := bytes.Cut(rest, []byte(machinesTo))
	if !ok || !closed {
		return nil, fmt.Errorf("docs/protocol.md lacks the marks around the state machines: %s", machinesFrom)
	}
	var out bytes.Buffer
	out.Write(head)
	out.WriteString(machinesFrom)
	for _, m := range all {
		fmt.Fprintf(&out, "\n### %s%s\n\n%s\n\n```mermaid\nstateDiagram-v2\n    [*] --> %s\n", strings.ToUpper(m.Name[:1]), m.Name[1:], m.Says, m.Start)
		for _, x := range m.Moves {
			fmt.Fprintf(&out, "    %s --> %s: %s\n", x.From, x.To, x.On)
		}
		out.WriteString("```\n")
	}
	out.WriteByte('\n')
	out.WriteString(machinesTo)
	out.Write(tail)
	return out.Bytes(), nil
}
