package terminal

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCapabilitiesOfAnOutput(t *testing.T) {
	for _, c := range []struct {
		name    string
		tty     bool
		columns int
		env     map[string]string
		want    Profile
	}{
		{"a terminal has colours and its width", true, 100, map[string]string{"TERM": "xterm", "LANG": "de_DE.UTF-8"}, Profile{Color: true, Width: 100, Interactive: true, Unicode: true}},
		{"a pipe is plain and without a width", false, 0, map[string]string{"TERM": "xterm", "LC_ALL": "C.utf8"}, Profile{Unicode: true}},
		{"a dumb terminal is plain but has a width", true, 132, map[string]string{"TERM": "dumb"}, Profile{Width: 132}},
		{"a terminal without a name is taken for a dumb one", true, 80, nil, Profile{Width: 80}},
		{"Windows Terminal has no name and is none", true, 80, map[string]string{"WT_SESSION": "x"}, Profile{Color: true, Width: 80, Interactive: true}},
		{"NO_COLOR takes the colours only", true, 80, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, Profile{Width: 80, Interactive: true}},
		{"an empty NO_COLOR says nothing", true, 80, map[string]string{"TERM": "xterm", "NO_COLOR": ""}, Profile{Color: true, Width: 80, Interactive: true}},
		{"CLICOLOR_FORCE colours a pipe", false, 0, map[string]string{"CLICOLOR_FORCE": "1"}, Profile{Color: true}},
		{"CLICOLOR_FORCE=0 forces nothing", false, 0, map[string]string{"CLICOLOR_FORCE": "0"}, Profile{}},
		{"NO_COLOR wins over CLICOLOR_FORCE", true, 80, map[string]string{"TERM": "xterm", "NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, Profile{Width: 80, Interactive: true}},
		{"CLICOLOR=0 takes the colours", true, 80, map[string]string{"TERM": "xterm", "CLICOLOR": "0"}, Profile{Width: 80, Interactive: true}},
		{"COLUMNS gives the width that a terminal does not report", true, 0, map[string]string{"TERM": "xterm", "COLUMNS": "44"}, Profile{Color: true, Width: 44, Interactive: true}},
		{"an unknown width is 80", true, 0, map[string]string{"TERM": "xterm", "COLUMNS": "wide"}, Profile{Color: true, Width: 80, Interactive: true}},
		{"a width below 20 is 20", true, 3, map[string]string{"TERM": "xterm"}, Profile{Color: true, Width: 20, Interactive: true}},
		{"LC_ALL hides LANG", true, 80, map[string]string{"TERM": "xterm", "LC_ALL": "C", "LANG": "en_US.UTF-8"}, Profile{Color: true, Width: 80, Interactive: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := profile(c.tty, c.columns, func(k string) string { return c.env[k] }); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAFileIsNotATerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := Detect(f, func(k string) string { return map[string]string{"TERM": "xterm", "COLUMNS": "99"}[k] }); got != (Profile{}) {
		t.Errorf("got %+v", got)
	}
}
