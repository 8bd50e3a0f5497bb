# Owns the commands of a clean clone. `make help` lists them; what they must do is fixed in docs and tested by tests/platform.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
JS := tests/javascript
JS_STAMP := $(JS)/node_modules/.stamp
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --custom-compile-command "make requirements"

.PHONY: help run test lint chromium openssl node requirements bench bench-read conformance drill drill-unprotected faults pictures

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## start everything in the foreground; Ctrl-C stops it
	@exec $(BIN)/python manage.py serve

test: $(STAMP) chromium openssl $(JS_STAMP) lint ## the whole test suite, after the checks
	@exec $(BIN)/python -m tests.halves

lint: $(STAMP) ## ruff, mypy and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench-read: $(STAMP) chromium ## pages and lists among a million stored events, and how long a browser is busy with 300 steps
	@$(BIN)/python -m bench.read $(ARGS)
	@$(BIN)/python -m bench.browser

bench: $(STAMP) ## what ingest costs in each way it is sent, the background pass and its lag, disk per session; ARGS=--quick for a look
	@$(BIN)/python -m bench.ingest $(ARGS)
	@$(BIN)/python -m bench.disk

conformance: $(STAMP) chromium $(JS_STAMP) ## every conformance case of OTLP, and the page of what was proven
	@$(BIN)/python -m pytest tests -m conformance -q --conformance-page docs/reference/otlp-conformance.md

drill: $(STAMP) faults ## every fault of docs/operate/durability.md, made under load; DRILL_ROUNDS=1000 for a thousand kill -9
	@DRILL_ROUNDS=$${DRILL_ROUNDS:-100} $(BIN)/python -m pytest tests/drills --long

drill-unprotected: $(STAMP) faults ## each drill with its protection taken away: it must fail
	@$(BIN)/python -m pytest tests/drills --long --unprotected

pictures: $(STAMP) chromium ## a picture of every page, light and dark, wide and narrow, in var/pictures
	@$(BIN)/python -m tests.browser.pictures $(ARGS)

faults: ## what some drills need: as root it is installed, else they are skipped
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v strace && command -v faketime; } >/dev/null; then \
	  echo "Installing strace and faketime for the drills ..."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends strace faketime; } >/dev/null; fi

chromium: ## the browser that the tests use
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing chromium for the browser tests ..."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null; \
	else echo "The browser tests need Chromium. Run: sudo apt-get install chromium" >&2; exit 1; fi

openssl: ## what is a timestamp authority to the tests
	@if command -v openssl >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing openssl for the tests of timestamps ..."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssl; } >/dev/null; \
	else echo "The tests of timestamps need OpenSSL. Run: sudo apt-get install openssl" >&2; exit 1; fi

node: ## the Node.js that the tests use
	@if node -e 'process.exit(+(parseInt(process.versions.node) < 18))' 2>/dev/null && command -v npm >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing nodejs and npm for the JavaScript tests ..."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm; } >/dev/null; \
	else echo "The JavaScript tests need Node.js 18 or newer and npm. Run: sudo apt-get install nodejs npm" >&2; exit 1; fi

$(JS_STAMP): $(JS)/package.json $(JS)/package-lock.json | node
	@echo "Installing the pinned JavaScript packages ..."
	@cd $(JS) && npm ci --loglevel=error >/dev/null
	@touch $@

requirements: $(STAMP) ## compile requirements*.txt from requirements*.in
	@$(COMPILE) $(UPGRADE) requirements.in --output-file requirements.txt
	@$(COMPILE) $(UPGRADE) requirements-dev.in --output-file requirements-dev.txt

$(STAMP): requirements.txt requirements-dev.txt
	@python=; for name in python3.13 python3.12 python3.11 python3; do \
	  if command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo "Auditlog needs Python 3.11 or newer; found: $$(python3 --version 2>&1)." >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "Python's venv is missing. Run: sudo apt-get install $$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "Creating $(VENV) with $$($$python --version) ..."; $$python -m venv --clear $(VENV) || exit 1; fi
	@echo "Installing the pinned requirements ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --only-binary=:all: \
	  -r requirements.txt -r requirements-dev.txt
	@touch $@
