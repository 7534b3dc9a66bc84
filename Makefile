# The commands of virtbus, the same for people and for CI. Each does all the set-up it needs.
# Another interpreter: make test PYTHON=python3.12     Arguments for pytest or the benchmark: make test ARGS="-k guest"

PYTHON ?= python3
ARGS ?=
VENV_PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test conformance check bench clean

help: ## What there is
	@sed -n 's/^\([a-z]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Make .venv with every distribution of virtbus at pinned versions (Python 3.11 or later, and pip)
	@$(PYTHON) -m deploy.setup

demo: setup ## Boot a real guest, driven through RabbitMQ, and shut it down (under two minutes)
	@$(VENV_PYTHON) -m deploy.packages demo
	@$(VENV_PYTHON) -m deploy.demo $(ARGS)

test: setup ## Run the tests against a real RabbitMQ and real QEMU
	@$(VENV_PYTHON) -m deploy.packages test
	@$(VENV_PYTHON) -m pytest $(ARGS)

conformance: setup ## Give the same scripts to libvirt itself and to virtbus, and compare the answers
	@$(VENV_PYTHON) -m deploy.packages test
	@$(VENV_PYTHON) -m pytest tests/conformance $(ARGS)

check: setup ## Lint, types, import contracts, and each distribution alone
	@$(VENV_PYTHON) -m deploy.check

bench: setup ## Measure against a bare pika echo and a bare QEMU start
	@$(VENV_PYTHON) -m deploy.packages demo
	@$(VENV_PYTHON) -m tests.bench $(ARGS)

clean: ## Remove .venv and every cache of the tools (the guest image in ~/.cache/virtbus stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
