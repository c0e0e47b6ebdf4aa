from . import area as area
from . import edge as edge
