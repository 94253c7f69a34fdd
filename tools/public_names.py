"""The import-linter contract of a package that must get along with the public names of another."""

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class PublicNamesContract(Contract):
    """The importers use nothing of `package` but the `public` modules, and of their own package whatever they like."""

    type_name = "public_names"

    importers: Any = fields.ListField(subfield=fields.StringField())
    package: Any = fields.StringField()
    public: Any = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        broken = [
            f"{module} imports {imported}"
            for importer in self.importers
            for module in sorted(name for name in graph.modules if _is_within(name, importer))
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if _is_within(imported, self.package) and not _is_within(imported, importer) and imported not in self.public
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        output.print_error(f"Only these are public: {', '.join(self.public)}.")
        for line in check.metadata["broken"]:
            output.print_error(f"- {line}")


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
