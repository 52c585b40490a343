# Two commands: `make lab-up` brings up a lab and proves it, `make test` runs everything. Both set up what they need.
LAB ?= moigetech-pki
NODE ?= kisii
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROOMS = testbed.lab testbed.proof testbed.exchange testbed.matrix testbed.faults testbed.console testbed.guide testbed.ios testbed.testing testbed.pytest_plugin testbed.daemons testbed.network testbed.verify testbed.topology \
	testbed.device testbed.render testbed.plan testbed.runtime testbed.graph testbed.successor testbed.events testbed.deadline testbed.errors

.DEFAULT_GOAL := help
.PHONY: help lab-up lab-down console guide prove test test-unit test-vm fuzz bench lint format docs clean

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

lab-up: prerequisites $(READY) ## Bring up a lab and check it: LAB=moigetech-pki, ARGS="--set ike=2"
	@$(BIN)/testbed up $(LAB) $(ARGS)

console: $(READY) ## A router's console: LAB=moigetech-pki NODE=kisii
	@$(BIN)/testbed console $(LAB) $(NODE)

guide: prerequisites $(READY) ## Play a lab's guide on routers that are bare: LAB=moigetech-pki, ARGS="--report guide.html"
	@$(BIN)/testbed guide $(LAB) $(ARGS)

prove: LAB = ipsec-goals
prove: prerequisites $(READY) ## Let an adversary try what a tunnel promises: LAB=ipsec-goals
	@$(BIN)/testbed up $(LAB) --no-verify $(ARGS) && $(BIN)/testbed prove $(LAB)

lab-down: $(READY) ## Remove a lab: LAB=moigetech-pki
	@$(BIN)/testbed down $(LAB)

test: prerequisites $(READY) ## Run the whole suite, real daemons included
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-unit: $(READY) ## Only the tests that need neither root nor an engine
	@$(BIN)/python -m pytest tests/unit tests/golden tests/pki $(ARGS)

test-vm: prerequisites $(READY) ## The kernel's own ESP, in a small virtual machine; not part of `make test`
	@$(BIN)/python -m pytest tests/vm -m vm $(ARGS)

fuzz: $(READY) ## 50,000 messages against the certificate authority, 100,000 IOS configurations: ARGS="--seed 7"
	@$(BIN)/python -m tests.pki.fuzz $(ARGS)
	@$(BIN)/python -m tests.unit.ios.fuzz $(ARGS)

bench: prerequisites $(READY) ## Measure, beside a floor in the same run
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -m tests.bench $(ARGS)

lint: $(READY) ## Check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(READY) ## Mend style
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: $(READY) ## Build the API reference into docs/_build
	@$(BIN)/pip install --quiet -e '.[docs]' && $(BIN)/pdoc --output-directory docs/_build $(ROOMS)
	@echo "docs/_build/index.html"

clean: ## Remove what `make` made here (not images, not labs)
	@rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What the machine must have, said at once and before anything is downloaded.
.PHONY: prerequisites
prerequisites:
	@$(PYTHON) -m testbed.prerequisites

$(READY): pyproject.toml
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null && \
		rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	@touch $@
