package openai

import (
	"encoding/base64"
	"net/url"
	"strings"

	sdk "github.com/openai/openai-go/v3"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// mostMedia bounds an image or a file, in bytes: OpenAI takes 50 MB in a request.
const mostMedia = 20 << 20

// takes returns what the host takes: messages of tools hold only text. PDFs are
// OpenAI's and OpenRouter's own; other hosts refuse the request.
//
// Sources: https://platform.openai.com/docs/guides/images-vision and
// https://platform.openai.com/docs/guides/pdf-files
func (p *Provider) takes() *transcript.Media {
	m := &transcript.Media{Images: mostMedia}
	if u, err := url.Parse(p.config.BaseURL); llm.IsOpenAI(p.config.BaseURL) || err == nil && strings.HasSuffix("."+u.Hostname(), ".openrouter.ai") {
		m.PDFs = mostMedia
	}
	return m
}

// userMessage returns a message of the user. One of text alone is a string: many hosts
// take nothing else.
func userMessage(m events.Message) sdk.ChatCompletionMessageParamUnion {
	var texts []string
	var content []sdk.ChatCompletionContentPartUnionParam
	flush := func() {
		if len(texts) > 0 {
			content = append(content, sdk.TextContentPart(strings.Join(texts, "\n\n")))
			texts = nil
		}
	}
	for _, part := range m.Parts {
		switch part.Kind {
		case events.PartImage:
			flush()
			content = append(content, sdk.ImageContentPart(sdk.ChatCompletionContentPartImageImageURLParam{URL: dataURL(part)}))
		case events.PartFile:
			flush()
			content = append(content, sdk.FileContentPart(sdk.ChatCompletionContentPartFileFileParam{
				Filename: sdk.String(fileName(part)), FileData: sdk.String(dataURL(part))}))
		default:
			texts = append(texts, part.Text)
		}
	}
	if len(content) == 0 {
		return sdk.UserMessage(strings.Join(texts, "\n\n"))
	}
	flush()
	return sdk.UserMessage(content)
}

// fileName returns the name of a file, which the API demands.
func fileName(p events.Part) string {
	if p.Name == "" {
		return "file.pdf"
	}
	return p.Name
}

func dataURL(p events.Part) string {
	return "data:" + p.MIME + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
}
