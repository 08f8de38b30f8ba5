def draw(*a):
    pass


def text(*a):
    return ""
