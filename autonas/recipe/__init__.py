"""From a space file to everything a study needs: `load_recipe("quickstart")`."""

from autonas.recipe.finding import find_space
from autonas.recipe.recipe import MAY_CHANGE, Recipe, difference, load_recipe, price
from autonas.recipe.search_sections import HorizonSettings, PromoteSettings

__all__ = ["MAY_CHANGE", "HorizonSettings", "PromoteSettings", "Recipe", "difference", "find_space", "load_recipe", "price"]
