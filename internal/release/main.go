// Command release builds the archives of a release: for each platform the stripped
// binaries in an archive, a bill of materials for each binary, and SHA256SUMS of all
// files. The same commit and version give the same bytes with the same Go.
//
//	go run ./internal/release -version 1.2.3 -out dist
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "version of the release")
	flag.StringVar(&r.out, "out", "dist", "directory for the files; it must not exist, or be empty")
	flag.Parse()
	r.module, r.platforms = ".", platforms()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := r.make(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release: "+err.Error())
		os.Exit(1)
	}
	fmt.Println(strings.Join(r.files, "\n"))
}

// platform is an operating system and an architecture, in Go's terms.
type platform struct{ os, arch string }

// platforms returns those that releases are built for.
func platforms() []platform {
	return []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}
}

// binary returns the file name of a command.
func (p platform) binary(command string) string {
	if p.os == "windows" {
		return command + ".exe"
	}
	return command
}
