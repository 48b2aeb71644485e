package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tenantContext is the tenant and the credentials in a context of qlik-cli.
type tenantContext struct {
	server string
	credentials
}

// errNoContext means that qlik-cli is not configured, or that none of its contexts is active.
var errNoContext = errors.New("qlik-cli has no active context")

// contextFile is the file with the contexts of qlik-cli.
type contextFile struct {
	path     string
	Current  string                  `yaml:"current-context"`
	Contexts map[string]contextEntry `yaml:"contexts"`
}

// contextEntry is a context in that file.
type contextEntry struct {
	Server       string            `yaml:"server"`
	ServerType   string            `yaml:"server-type"`
	Headers      map[string]string `yaml:"headers"`
	ClientID     string            `yaml:"oauth-client-id"`
	ClientSecret string            `yaml:"oauth-client-secret"`
}

// readContexts reads the contexts of qlik-cli. It does not modify the file. The file contains keys, so the errors do not
// quote it.
func readContexts() (file contextFile, err error) {
	if file.path, err = contextsPath(); err != nil {
		return file, err
	}
	text, err := os.ReadFile(file.path)
	if err != nil {
		return file, err
	}
	if yaml.Unmarshal(text, &file) != nil {
		return file, fmt.Errorf("%s: invalid format of qlik-cli contexts", file.path)
	}
	return file, nil
}

// readContext reads a context of qlik-cli; "" means the active one.
func readContext(name string) (c tenantContext, err error) {
	file, err := readContexts()
	if errors.Is(err, fs.ErrNotExist) && name == "" {
		return c, errNoContext
	} else if err != nil {
		return c, err
	}
	if name = cmp.Or(name, file.Current); name == "" {
		return c, errNoContext
	}
	found, ok := file.Contexts[name]
	switch {
	case !ok:
		return c, fmt.Errorf("%s: no context %q", file.path, name)
	case found.ServerType != "" && !strings.EqualFold(found.ServerType, "cloud"):
		return c, fmt.Errorf("context %q: expected server type cloud, got %q", name, found.ServerType)
	case found.Server == "":
		return c, fmt.Errorf("context %q: server is not set", name)
	}
	c.server = found.Server
	c.credentials, err = found.credentials(name)
	return c, err
}

// credentials returns the credentials of the context, which has the given name.
func (e contextEntry) credentials(name string) (credentials, error) {
	for header, value := range e.Headers {
		if strings.EqualFold(header, "Authorization") {
			scheme, key, _ := strings.Cut(strings.TrimSpace(value), " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return credentials{}, fmt.Errorf("context %q: expected an Authorization header with scheme Bearer", name)
			}
			return credentials{key: strings.TrimSpace(key)}, nil
		}
	}
	return credentials{clientID: e.ClientID, clientSecret: e.ClientSecret}, nil
}
