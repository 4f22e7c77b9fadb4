import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Product } from '../generated/prisma/client.js';
import { CatalogService } from './catalog.service.js';

@ApiTags('products')
@Controller('products')
export class CatalogController {
  constructor(private readonly catalog: CatalogService) {}

  @Get()
  @ApiOperation({ summary: 'What can be ordered, and how much of it is left' })
  list(): Promise<Product[]> {
    return this.catalog.products();
  }
}
