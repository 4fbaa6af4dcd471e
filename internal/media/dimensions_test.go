package media

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
)

// encoded returns an image of 300 to 200 pixels in a format of the standard library.
func encoded(t testing.TB, format string) []byte {
	t.Helper()
	picture := image.NewPaletted(image.Rect(0, 0, 300, 200), color.Palette{color.Black, color.White})
	var out bytes.Buffer
	var err error
	switch format {
	case PNG:
		err = png.Encode(&out, picture)
	case JPEG:
		err = jpeg.Encode(&out, picture, nil)
	case GIF:
		err = gif.Encode(&out, picture, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDimensionsAreThoseOfTheHeader(t *testing.T) {
	webp := func(chunk string, rest ...byte) []byte {
		return append([]byte("RIFF\x00\x00\x00\x00WEBP"+chunk+"\x00\x00\x00\x00"), rest...)
	}
	whole, err := base64.StdEncoding.DecodeString("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	exif := encoded(t, JPEG)
	exif = append(append([]byte{0xff, 0xd8, 0xff, 0xff, 0xe1, 0, 6, 0xff, 0xc0, 1, 1}, 0xff, 0x01), exif[2:]...)
	for _, c := range []struct {
		name string
		data []byte
		w, h int
	}{
		{"PNG", encoded(t, PNG), 300, 200},
		{"JPEG", encoded(t, JPEG), 300, 200},
		{"JPEG with a segment that looks like a frame, fill and a marker without a length", exif, 300, 200},
		{"GIF", encoded(t, GIF), 300, 200},
		{"WebP", whole, 1, 1},
		{"lossless WebP", webp("VP8L", 0x2f, 0x2b, 0xc1, 0x31, 0x00, 0, 0, 0, 0, 0), 300, 200},
		{"extended WebP", webp("VP8X", 0, 0, 0, 0, 0x2b, 0x01, 0, 0xc7, 0, 0), 300, 200},
		{"a PDF", []byte("%PDF-1.7"), 0, 0},
		{"nothing", nil, 0, 0},
	} {
		if w, h := Dimensions(c.data); w != c.w || h != c.h {
			t.Errorf("%s: %d x %d, want %d x %d", c.name, w, h, c.w, c.h)
		}
		for cut := range min(len(c.data), 700) {
			Dimensions(c.data[:cut]) // does not panic
		}
	}
}

func FuzzDimensions(f *testing.F) {
	for _, format := range []string{PNG, JPEG, GIF} {
		f.Add(encoded(f, format))
	}
	frame := "\xff\xc0\x00\x0b\x08\x00\xc8\x01\x2c\x01\x01\x11\x00" // 300 to 200 pixels
	scan := "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
	f.Add([]byte("\xff\xd8" + frame + scan))
	f.Add([]byte("\xff\xd8\xff\xfe\x00\x04ab\xff" + frame + scan))
	f.Add([]byte("\xff\xd8ab" + frame + scan)) // which Type takes for nothing
	f.Fuzz(func(t *testing.T, data []byte) {
		w, h := Dimensions(data)
		if w < 0 || h < 0 {
			t.Fatalf("%d x %d", w, h)
		}
		if Type(data) == "" { // the decoders take more for their format than providers do
			return
		}
		if c, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && (w != c.Width || h != c.Height) {
			t.Fatalf("%d x %d, the decoder reads %d x %d", w, h, c.Width, c.Height)
		}
	})
}
