from drawn_spines import save_untrained, spider_folder

__all__ = ["save_untrained", "spider_folder"]
