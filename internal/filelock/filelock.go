// Package filelock locks files between processes. A lock ends with its process, and
// when its file is closed. No function blocks.
package filelock
