package mcp_test
