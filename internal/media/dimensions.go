package media

import (
	"bytes"
	"encoding/binary"
)

// Dimensions returns the width and height of an image in pixels, from its header; 0, 0 if
// they cannot be read. Nothing is decoded.
func Dimensions(data []byte) (width, height int) {
	switch Type(data) {
	case PNG: // the signature, then the chunk IHDR
		if len(data) >= 24 && string(data[12:16]) == "IHDR" {
			return int(binary.BigEndian.Uint32(data[16:])), int(binary.BigEndian.Uint32(data[20:]))
		}
	case GIF:
		if len(data) >= 10 {
			return int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:]))
		}
	case JPEG:
		return jpegDimensions(data)
	case WebP:
		return webpDimensions(data)
	}
	return 0, 0
}

// jpegDimensions finds the first frame header: a marker C0 to CF that is none of DHT
// (C4), JPG (C8) and DAC (CC).
func jpegDimensions(data []byte) (width, height int) {
	for at := 2; at+9 <= len(data); {
		marker := data[at+1]
		switch {
		case data[at] != 0xff || marker == 0xff: // decoders skip what is between segments
			at++
			continue
		case marker <= 0x01 || marker >= 0xd0 && marker <= 0xd8: // without a length
			at += 2
			continue
		case marker == 0xd9 || marker == 0xda: // the end, or a scan before any frame
			return 0, 0
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return int(binary.BigEndian.Uint16(data[at+7:])), int(binary.BigEndian.Uint16(data[at+5:]))
		}
		at += 2 + int(binary.BigEndian.Uint16(data[at+2:]))
	}
	return 0, 0
}

// webpDimensions reads the first chunk of each of the three forms.
func webpDimensions(data []byte) (width, height int) {
	if len(data) < 30 {
		return 0, 0
	}
	switch string(data[12:16]) {
	case "VP8 ":
		if bytes.Equal(data[23:26], []byte{0x9d, 0x01, 0x2a}) {
			return int(binary.LittleEndian.Uint16(data[26:]) & 0x3fff), int(binary.LittleEndian.Uint16(data[28:]) & 0x3fff)
		}
	case "VP8L":
		if bits := binary.LittleEndian.Uint32(data[21:]); data[20] == 0x2f {
			return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1
		}
	case "VP8X":
		little24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
		return little24(data[24:]) + 1, little24(data[27:]) + 1
	}
	return 0, 0
}
