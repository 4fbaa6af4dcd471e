package chaos_test

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// finished are the seeds that have passed, with the faults that took place in each.
type finished struct {
	file  string // none when empty
	nodes int
	seeds map[uint64]matrix
}

// finishedSeed is a line of the file.
type finishedSeed struct {
	Nodes  int    `json:"nodes"`
	Seed   uint64 `json:"seed"`
	Faults matrix `json:"faults"`
}

// readFinished reads the seeds that passed on as many nodes. A last line that was cut
// when its run was stopped does not count.
func readFinished(t *testing.T, file string, nodes int) *finished {
	t.Helper()
	f := &finished{file, nodes, map[uint64]matrix{}}
	if file == "" {
		return f
	}
	r, err := os.Open(file)
	if os.IsNotExist(err) {
		return f
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }() // it was only read
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var s finishedSeed
		if json.Unmarshal(lines.Bytes(), &s) == nil && s.Nodes == nodes {
			f.seeds[s.Seed] = s.Faults
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return f
}

// add appends a seed that passed.
func (f *finished) add(t *testing.T, seed uint64, faults matrix) {
	t.Helper()
	f.seeds[seed] = faults
	if f.file == "" {
		return
	}
	line, err := json.Marshal(finishedSeed{f.nodes, seed, faults})
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(f.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(append([]byte("\n"), append(line, '\n')...)); err == nil { // a line that was cut ends here
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestFinishedSeedsAreNotRunAgain(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/finished"
	readFinished(t, file, 1).add(t, 7, matrix{"kill": 2})
	readFinished(t, file, 3).add(t, 8, matrix{})
	raw, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(raw, `{"nodes":1,"se`...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	readFinished(t, file, 1).add(t, 9, matrix{"cut": 1})
	got := readFinished(t, file, 1).seeds
	if len(got) != 2 || got[7]["kill"] != 2 || got[9]["cut"] != 1 {
		t.Errorf("finished on one node: %v", got)
	}
	if got := readFinished(t, file, 3).seeds; len(got) != 1 || got[8] == nil {
		t.Errorf("finished on three nodes: %v", got)
	}
}
