package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// editorCommand is the editor that the person chose: VISUAL, then EDITOR. false
// when they chose none.
func editorCommand(getenv func(string) string) (string, bool) {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if v := strings.TrimSpace(getenv(name)); v != "" {
			return v, true
		}
	}
	return "", false
}

// runEditor opens a text in an editor, as JSON, and returns what was left. The
// command may have arguments, as git takes it: "code --wait".
func runEditor(editor, text string) (edited string, err error) {
	dir, err := os.MkdirTemp("", "parley-")
	if err != nil {
		return "", fmt.Errorf("a file for the editor: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := dir + string(os.PathSeparator) + "arguments.json"
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("a file for the editor: %w", err)
	}
	// The shell takes the command apart, as it does for git and crontab.
	cmd := exec.Command("sh", "-c", editor+` "$@"`, editor, file)
	if runtime.GOOS == "windows" {
		words := strings.Fields(editor)
		cmd = exec.Command(words[0], append(words[1:], file)...)
	}
	takeTerminal(cmd)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("the editor %q failed: %w", editor, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read what the editor left: %w", err)
	}
	return string(raw), nil
}
